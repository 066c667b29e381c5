"""The newest model is fitted once and kept until the log or the settings change."""

import numpy as np
import pytest
from toys import Popularity, record_fits

from perennial.replay.chain import Limits
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.strategies.baselines import Individual, Joint
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.store import Store

VERSIONS = {"code": "toys"}


@pytest.fixture
def fitted(monkeypatch):
    """Fits that were made."""
    return record_fits(monkeypatch, Popularity)


def publish(store, strategy=None, recipe=None, seed=0, limits=None):
    return newest_model(
        store, strategy or Joint(), recipe or Popularity(), seed, limits, versions=VERSIONS
    )


def test_it_is_fitted_once_and_then_read(store, fitted):
    first, again = publish(store), publish(store)
    assert len(fitted) == 1
    np.testing.assert_array_equal(first.counts, again.counts)
    assert first.report == again.report


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": Individual()},
        {"recipe": Popularity(noise=0.5)},
        {"seed": 1},
        {"limits": Limits(max_rows=7)},
    ],
)
def test_other_settings_are_another_model(store, fitted, change):
    for _ in range(2):
        publish(store)
        publish(store, **change)
        assert len(fitted) == 2, "both are kept"


def test_only_a_memory_limit_that_cuts_rows_makes_another_model(store, fitted):
    whole = publish(store, limits=Limits(memory_limit=10**9))
    publish(store, limits=Limits(memory_limit=10**10))
    publish(store)
    assert len(fitted) == 1
    capped = publish(store, limits=Limits(memory_limit=7000))
    assert len(fitted) == 2
    assert capped.report["rows_used"] == 7
    assert whole.report["rows_used"] == whole.report["rows_given"] > 7


def test_new_interactions_make_a_new_model(store, fitted, tmp_path):
    before = publish(store)
    more = tmp_path / "more.csv"
    more.write_text("user_id,item_id,timestamp\nu1,brand-new,1100000000\nu2,i1,1100000001\n")
    ingest_period(store, more)
    after = publish(store)
    assert len(fitted) == 2
    assert after.num_items == before.num_items + 1
    assert len(list(store.models_folder.iterdir())) == 1, "the old one is gone"


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_a_lost_file_is_made_again(store, fitted, damage):
    first = publish(store)
    (path,) = store.models_folder.iterdir()
    path.unlink() if damage == "remove" else path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(publish(store).counts, first.counts)
    assert len(fitted) == 2
    publish(store)
    assert len(fitted) == 2


def test_an_empty_store(tmp_path):
    with Store.open(tmp_path / "s.duckdb") as store, pytest.raises(UserError, match="holds no"):
        publish(store)
