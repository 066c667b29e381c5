"""The strategy that is live without one being named, and its change when memory runs out."""

import dataclasses

import pytest
from toys import Popularity

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.default_strategy import choose_default, smaller_default
from perennial.replay.live.ingest import LiveRequest, bring_up_to_date, take_files
from perennial.replay.live.setup import configure_live
from perennial.replay.live.steps import PeriodPublished, describe_step, step_to_json
from perennial.replay.live.updater import LiveUpdater
from perennial.storage.errors import MemoryLimitExceeded, UserError
from perennial.storage.log.rewrite import drop_events
from perennial.storage.results.cells import read_cells
from perennial.storage.results.publications import LiveRecord, list_publications, read_live
from perennial.storage.results.runs import read_run
from perennial.storage.store import Store

pytestmark = pytest.mark.usefixtures("toy_chains")

ROWS = 25
"""Rows that fit; 15 users are active in a period, 40 in all."""
CONFIG = ReplayConfig(
    strategies=("joint",), models=(ModelChoice("popularity"),), memory_limit=1000 * ROWS
)
DEFAULT = choose_default("popularity", keeps_log=True)


@pytest.mark.parametrize(
    ("model", "keeps_log", "has_settings", "wanted"),
    [
        ("infinite-ae", True, False, "joint"),
        ("mvae", False, False, "distill-cf"),
        ("mvae", True, True, "distill-cf"),
        *((name, True, False, "joint") for name in ("pop", "bias", "ease")),
        *((name, False, True, "active") for name in ("pop", "bias", "ease")),
    ],
)
def test_the_log_and_the_model_decide(model, keeps_log, has_settings, wanted):
    chosen = choose_default(model, keeps_log=keeps_log, has_memory_settings=has_settings)
    assert chosen.name == wanted


@pytest.mark.parametrize(
    ("strategy", "model", "reason", "changes"),
    [
        ("joint", "mvae", "the log is kept", True),
        ("joint", "mvae", None, False),
        ("joint", "ease", "the log is kept", False),
        ("distill-cf", "mvae", "old periods are dropped", False),
    ],
)
def test_only_a_default_of_the_whole_log_changes(strategy, model, reason, changes):
    config = ReplayConfig(strategies=(strategy,), models=(ModelChoice(model),)).to_json()
    found = smaller_default(LiveRecord(config, 1, why_default=reason), 4)
    assert (found is not None) == changes
    if found is not None:
        assert found.config["strategies"] == ["distill-cf"]
        assert "period 4" in found.why_default


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "live.duckdb") as opened:
        configure_live(opened, CONFIG, default=DEFAULT)
        yield opened


def refuse_above(monkeypatch):
    """Let the model refuse more rows than fit, in place of leaving some out."""
    fit = Popularity.fit

    def refuse(self, rows, options):
        if rows.num_rows > ROWS and not rows.replayed.any():
            raise MemoryLimitExceeded("too many rows")
        return fit(self, rows, options)

    monkeypatch.setattr(Popularity, "fit", refuse)


def ingest(store, files):
    steps = list(take_files(store, files, LiveRequest()))
    return [one for one in steps if isinstance(one, PeriodPublished)]


@pytest.mark.parametrize("refuses", [False, True], ids=["leaves rows out", "refuses"])
def test_a_default_gives_way_in_the_period_that_does_not_fit(
    store, period_files, monkeypatch, refuses
):
    if refuses:
        refuse_above(monkeypatch)
    before = read_live(store).run_id
    steps = ingest(store, period_files)
    (changed,) = [one for one in steps if one.new_strategy is not None]
    record = read_live(store)
    assert record.config["strategies"] == ["distill-cf"]
    assert f"period {changed.period} on" in record.why_default
    assert "distill-cf is live now, since from period" in describe_step(changed)
    assert step_to_json(changed)["new_strategy"]["name"] == "distill-cf"
    assert [one.period for one in list_publications(store)] == [1, 2, 3, 4, 5]
    # The new run continues the one before, which stays as it was.
    cells = {one.eval_period: one.strategy for one in read_cells(store, record.run_id)}
    assert cells == {
        period: "joint" if period <= changed.period else "distill-cf" for period in range(2, 6)
    }
    assert read_run(store, record.run_id).num_cells == 4
    assert {one.strategy for one in read_cells(store, before)} == {"joint"}
    assert configure_live(store, CONFIG, default=DEFAULT) == record


def test_a_given_strategy_stays(store, period_files):
    record = configure_live(store, CONFIG)
    assert record.why_default is None
    assert all(one.new_strategy is None for one in ingest(store, period_files))
    assert read_live(store) == record


def test_a_change_that_is_interrupted_is_made_again(store, period_files, monkeypatch, tmp_path):
    def interrupt(*_given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perennial.replay.live.default_strategy.update_live", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ingest(store, period_files)
    assert read_live(store).config["strategies"] == ["joint"]
    ingest(store, period_files)
    assert list(bring_up_to_date(store, None)) == []
    with Store.open(tmp_path / "other.duckdb") as whole:
        configure_live(whole, CONFIG, default=DEFAULT)
        ingest(whole, period_files)
        found = [
            (read_live(one), [cell.key for cell in read_cells(one, read_live(one).run_id)])
            for one in (store, whole)
        ]
        assert found[0] == found[1]
        fits = [[one.fit_key for one in list_publications(each)] for each in (store, whole)]
        assert fits[0] == fits[1]


def test_a_failing_change_leaves_the_strategy(store, period_files, monkeypatch):
    def fail(self, rows, options):
        raise MemoryLimitExceeded("no room at all")

    ingest(store, period_files[:1])
    record = read_live(store)
    monkeypatch.setattr(Popularity, "fit", fail)
    with pytest.raises(UserError, match="no room at all; `perennial init --replace` changes"):
        ingest(store, period_files[1:2])
    assert read_live(store) == record
    assert LiveUpdater(store).chain.strategy.name == "joint"


@pytest.mark.parametrize(("model", "advised"), [("pop", "active"), ("popularity", "distill-cf")])
def test_a_refusal_to_drop_periods_names_the_strategy_of_the_model(tmp_path, model, advised):
    config = dataclasses.replace(CONFIG, models=(ModelChoice(model),))
    with Store.open(tmp_path / "live.duckdb") as store:
        with pytest.raises(UserError, match=f"init --replace --strategy {advised}`"):
            configure_live(store, config, forget_log_after=2)
        assert read_live(store) is None


def test_without_the_whole_log_the_default_does_without(live, period_files):
    store = live(dataclasses.replace(CONFIG, strategies=("individual",), memory_limit=None), 3)
    drop_events(store, 1)
    record = configure_live(store, CONFIG, default=DEFAULT, replace=True)
    assert record.config["strategies"] == ["distill-cf"]
    assert "dropped" in record.why_default
