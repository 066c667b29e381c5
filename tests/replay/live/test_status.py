"""The state of a store at a glance, as data and on screens of any width."""

import dataclasses
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from perennial.replay.cli.tables import print_status, sparkline
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.setup import configure_live, describe
from perennial.replay.live.status import (
    LiveStatus,
    LogStatus,
    MemoryStatus,
    MetricStatus,
    PeriodValue,
    read_status,
)
from perennial.replay.loop import run_replay
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.plan import make_chains
from perennial.storage.results.fits import insert_fit, insert_model_file, write_model
from perennial.storage.results.publications import (
    LiveRecord,
    Publication,
    insert_publication,
    write_live,
)
from perennial.storage.results.runs import list_runs
from perennial.storage.store import Store

DISTILLATION = {"num_steps": 1, "batch_size": 8}
SETTINGS = {"budget": 4, "policy": "rolling", "distillation": DISTILLATION}
CONFIG = ReplayConfig(
    ("distill-cf",), {"distill-cf": SETTINGS}, (ModelChoice("infinite-ae", {"reg": 1.0}),)
)


def publish(store, period):
    """Fit and publish by hand, and take a replay's cells for the live run's."""
    (chain,) = make_chains(store, CONFIG, {"code": "test"})
    model, fit = chain.fit(chain.history(period), Stopwatch(Clock()), lambda _text: None)
    path = write_model(store, fit.key, *chain.to_arrays(model))
    now = Clock().now()
    with store.transaction():
        write_live(store, LiveRecord(CONFIG.to_json(), list_runs(store)[-1].run_id))
        insert_fit(store, fit)
        insert_model_file(store, fit.key, "published", chain.key, path)
        insert_publication(store, Publication(period, fit.key, {}, now))
    return path, now


@pytest.fixture(scope="module")
def published(tmp_path_factory, toy_store_file):
    """A store of five periods, of which the published model has seen three, and its status."""
    import shutil

    path = tmp_path_factory.mktemp("status") / "live.duckdb"
    shutil.copy(toy_store_file, path)
    with Store.open(path) as store:
        run_replay(store, CONFIG)
        model, now = publish(store, 3)
        return store.path, read_status(store), model, now


def test_it_tells_how_current_the_model_is(published):
    path, status, model, now = published
    assert (status.store, status.strategy, status.model) == (str(path), "distill-cf", "infinite-ae")
    assert (status.periods, status.newest_period, status.held_from) == (5, 5, 1)
    assert (status.published_period, status.periods_behind, status.published) == (3, 2, now)
    assert status.model_bytes >= model.stat().st_size
    assert status.store_bytes > 0
    assert status.log.kept == status.log.interactions > status.log.users > 0


def test_it_tells_how_good_it_has_been_and_what_is_remembered(published):
    _, status, _, _ = published
    assert [one.label for one in status.metrics] == ["HR@10", "nDCG@10", "HR@100", "PSP@10", "AUC"]
    for metric in status.metrics:
        assert [one.period for one in metric.values] == [2, 3, 4, 5]
        assert metric.mean == pytest.approx(sum([one.value for one in metric.values]) / 4)
    assert [one.period for one in status.memory] == [1, 2, 3]
    assert all(
        one.rows <= 4 and one.bytes == 8 * one.entries + 4 * one.rows > 0 for one in status.memory
    )


def test_json_has_the_agreed_keys(published):
    _, status, _, _ = published
    told = json.loads(json.dumps(status.to_json(), allow_nan=False))
    assert list(told) == [
        *("store", "strategy", "model", "seed", "config", "periods", "newest_period"),
        *("published_period", "published", "periods_behind", "held_from", "metrics", "memory"),
        *("log", "model_bytes", "store_bytes", "remarks", "conditions"),
        *("forget_log_after", "histories", "why_default"),
    ]
    assert list(told["metrics"][0]) == ["metric", "k", "label", "values", "mean"]
    assert list(told["metrics"][0]["values"][0]) == ["period", "value"]
    assert list(told["memory"][0]) == ["period", "rows", "entries", "bytes"]
    assert list(told["log"]) == ["interactions", "kept", "users", "items"]
    assert told["published"].endswith("+00:00")
    assert ReplayConfig.from_json(told["config"]) == CONFIG


def test_summaries_of_other_settings_are_not_its_memory(published):
    path, _, _, _ = published
    other = dataclasses.replace(CONFIG, strategy_settings={}, strategies=("individual",))
    with Store.open(path) as store:
        before = read_status(store)
        with store.transaction():
            write_live(store, LiveRecord(other.to_json(), 1))
        status = read_status(store)
        assert (status.memory, status.published_period, status.periods_behind) == ((), None, 5)
        publish(store, 3)
        assert read_status(store).memory == before.memory


def test_a_store_without_a_live_model(store):
    status = read_status(store)
    assert (status.strategy, status.config, status.published) == (None, None, None)
    assert (status.periods, status.periods_behind, status.metrics) == (5, 0, ())
    assert "choose a model with `perennial init`" in drawn(status)


def test_an_empty_store_in_memory():
    with Store.open(":memory:") as store:
        status = read_status(store)
    assert (status.periods, status.newest_period, status.held_from) == (0, None, None)
    assert status.store_bytes == 0
    assert "none yet" in drawn(status)


def drawn(status, width=80, encoding="utf-8"):
    class Screen(io.StringIO):
        @property
        def encoding(self):
            return encoding

    screen = Screen()
    print_status(status, Console(file=screen, width=width, force_terminal=False))
    return screen.getvalue()


def made_up(num_periods, **changes):
    """A status with a long past."""
    values = tuple(PeriodValue(period, 100.0 * period) for period in range(2, num_periods + 1))
    metric = MetricStatus("HR", 10, "HR@10", values, 12.5)
    status = LiveStatus(
        store="a folder/live.duckdb",
        strategy="distill-cf",
        model="infinite-ae",
        seed=0,
        config={},
        periods=num_periods,
        newest_period=num_periods,
        published_period=num_periods,
        published=Clock().now(),
        periods_behind=0,
        held_from=num_periods - 1,
        metrics=(metric, dataclasses.replace(metric, metric="AUC", k=None, label="AUC")),
        memory=tuple(MemoryStatus(p, 500, 12_345, 148_140) for p in range(1, num_periods)),
        log=LogStatus(1_000_000, 200_000, 6_040, 3_706),
        model_bytes=2**21,
        store_bytes=2**25,
    )
    return dataclasses.replace(status, **changes)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("num_periods", [2, 17, 300])
def test_lines_fit_the_screen(width, num_periods):
    text = drawn(made_up(num_periods), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "HR@10" in text
    assert f"–{num_periods}" in text or num_periods == 2
    assert "12.50" in text
    assert "…" not in text


def test_words_for_how_it_stands():
    assert "up to date" in drawn(made_up(5))
    behind = drawn(made_up(5, periods_behind=1, published_period=4))
    assert "1 period behind; `perennial update` catches up" in " ".join(behind.split())
    fresh = made_up(5, published=None, published_period=None, periods_behind=5, metrics=())
    assert "nothing yet; `perennial update` makes the first model" in drawn(fresh)
    assert "nothing yet; `perennial ingest`" in drawn(dataclasses.replace(fresh, periods=0))
    assert "interactions are held from 4 on" in drawn(made_up(5))
    assert "only its interactions are held" in drawn(made_up(5, held_from=5))
    assert "1,000,000 interactions (200,000 held), 6,040 users" in drawn(made_up(5))


def test_a_screen_without_blocks():
    text = drawn(made_up(9), encoding="ascii")
    assert "▁" not in text
    assert "_.-=+*#@"[0] in text


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30), st.integers(1, 40))
def test_a_sparkline_keeps_the_order(values, width):
    line = sparkline(values, width)
    shown = values[-width:]
    assert len(line) == len(shown)
    pairs = [(value, bar) for value, bar in zip(shown, line, strict=True) if value is not None]
    assert all(bar == " " for value, bar in zip(shown, line, strict=True) if value is None)
    ordered = [bar for _, bar in sorted(pairs)]
    assert ordered == sorted(ordered)
    if len({value for value, _ in pairs}) > 1:
        assert {ordered[0], ordered[-1]} == {"▁", "█"}


def test_a_model_by_target_is_shown_by_its_name():
    with Store.open(":memory:") as store:
        models = (ModelChoice("perennial.models.pop:Pop"),)
        record = configure_live(
            store, ReplayConfig(strategies=("individual",), models=models), replace=False
        )
        assert record.config["models"][0]["name"] == "perennial.models.pop:Pop"
        assert read_status(store).model == "pop"
        assert describe(store, record) == "individual, pop and seed 0"
