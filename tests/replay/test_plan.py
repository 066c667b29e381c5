"""What a replay consists of, and what of it is still to be made."""

import dataclasses

import pytest

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.loop import run_replay
from perennial.replay.plan import count_periods, make_chains, missing_parts
from perennial.storage.errors import UserError
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers

VERSIONS = {"code": "toys"}
CONFIG = ReplayConfig(
    strategies=("individual", "toy"),
    strategy_settings={"toy": {"size": 2}},
    models=(ModelChoice("popularity"),),
    seeds=(0, 7),
)
pytestmark = pytest.mark.usefixtures("with_toys")


def missing(store, config):
    """Missing cells by strategy and seed."""
    parts = missing_parts(store, config, VERSIONS)
    return {(*part.config.strategies, *part.config.seeds): part.num_missing for part in parts}


def test_everything_is_missing_at_first(store):
    assert missing(store, CONFIG) == {
        ("individual", 0): 4,
        ("individual", 7): 4,
        ("toy", 0): 4,
        ("toy", 7): 4,
    }


def test_nothing_is_missing_after_a_replay(store):
    run_replay(store, CONFIG)
    assert missing(store, CONFIG) == {}


def test_a_partial_replay_leaves_the_rest(store):
    run_replay(store, dataclasses.replace(CONFIG, seeds=(7,), strategies=("toy",)))

    def stop(event):
        if isinstance(event, CellFinished) and event.num_done == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_replay(store, CONFIG, listener=stop)
    # Period by period: both seeds of `individual`, then `toy` 0, of period 1.
    assert missing(store, CONFIG) == {
        ("individual", 0): 3,
        ("individual", 7): 3,
        ("toy", 0): 3,
    }


def test_parts_put_together_are_the_whole(store):
    for part in missing_parts(store, CONFIG, VERSIONS):
        made = []
        run_replay(store, part.config, listener=made.append)
        finished = [one for one in made if isinstance(one, CellFinished)]
        assert len([one for one in finished if one.cell is not None]) == part.num_missing
    assert missing(store, CONFIG) == {}


def test_a_part_has_its_own_settings_alone(store):
    parts = missing_parts(store, CONFIG, VERSIONS)
    assert parts[0].config.strategy_settings == {}
    assert parts[-1].config.strategy_settings == {"toy": {"size": 2}}
    assert all(part.config.models == CONFIG.models for part in parts)


def test_chains_that_follow_need_all_fits_before(store):
    warm = ReplayConfig(
        strategies=("individual",), models=(ModelChoice("popularity", {"warm": True}),)
    )
    run_replay(store, warm)
    store.connection.execute("DELETE FROM cells WHERE fit_period = 2")
    assert missing(store, warm) == {("individual", 0): 1}
    store.connection.execute("DELETE FROM fits WHERE fit_key NOT IN (SELECT fit_key FROM cells)")
    assert missing(store, warm) == {("individual", 0): 3}


def test_with_held_out_users_every_period_is_asked_about(store):
    config = dataclasses.replace(
        CONFIG, strategies=("toy",), seeds=(0,), held_out=HeldOutUsers(0.4)
    )
    assert missing(store, config) == {("toy", 0): 20}
    run_replay(store, dataclasses.replace(config, held_out=None))
    assert missing(store, config) == {("toy", 0): 20}, "those fits saw everyone"
    run_replay(store, config)
    assert missing(store, config) == {}
    store.connection.execute("DELETE FROM cells WHERE eval_period = 1")
    assert missing(store, config) == {("toy", 0): 4}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategies": ()}, "no strategy given"),
        ({"models": ()}, "no model given"),
        ({"seeds": ()}, "no seed given"),
        ({"seeds": (0, 1, 0)}, "a seed is given twice"),
        ({"strategies": ("joint", "joint")}, "a strategy is given twice"),
    ],
)
def test_what_makes_no_replay_is_refused(store, change, words):
    with pytest.raises(UserError, match=words):
        make_chains(store, dataclasses.replace(CONFIG, **change), VERSIONS)


def test_two_periods_are_needed(store):
    assert count_periods(store) == 5
    with Store.open(":memory:") as empty, pytest.raises(UserError, match=r"has 0 period\(s\)"):
        count_periods(empty)
