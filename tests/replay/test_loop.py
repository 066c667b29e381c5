"""The period loop: its fits and evaluations, and which of them it reuses."""

import dataclasses
import itertools
import json
from datetime import datetime

import numpy as np
import pytest
from killed_replay import STORED
from replays import figures_of, replay, split_last_day
from toys import BYTES_PER_ROW, LastRow, Popularity, fill, interrupt_after, write_log

from perennial.models.base import FitOptions, TrainingRows
from perennial.replay import cells, loop
from perennial.replay.analysis.run import load_run
from perennial.replay.analysis.summary import summarise
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.evaluate import evaluate
from perennial.replay.events import CellFinished, CellStarted, RunFinished, RunStarted, StageMessage
from perennial.replay.loop import run_replay
from perennial.replay.machine import Clock
from perennial.replay.strategies.baselines import Joint
from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.results.cells import read_cells, read_evaluated_users
from perennial.storage.results.runs import read_run
from perennial.storage.store import Store
from perennial.stream.history import History
from perennial.stream.next_period import ProtocolSettings, build_evaluation

POPULARITY = ModelChoice("popularity")
pytestmark = pytest.mark.usefixtures("with_toys")


@pytest.fixture
def config():
    return ReplayConfig(strategies=("individual", "joint"), models=(POPULARITY,), seeds=(0, 7))


def test_every_cell_is_fitted_on_t_and_evaluated_on_the_next(store, config):
    run_id, made = replay(store, config)
    chains = itertools.product(("individual", "joint"), ("popularity",), (0, 7))
    assert sorted(made) == sorted((*chain, t, t + 1) for chain in chains for t in (1, 2, 3, 4))
    cells = read_cells(store, run_id)
    assert all(cell.eval_period == cell.fit_period + 1 for cell in cells)
    assert read_run(store, run_id).status == "finished"
    assert read_run(store, run_id).num_cells == len(cells) == 16


def test_a_cell_is_what_its_parts_give_by_hand(store, config):
    run_id, _ = replay(store, config)
    (cell,) = [
        cell
        for cell in read_cells(store, run_id)
        if (cell.strategy, cell.seed, cell.fit_period) == ("joint", 7, 3)
    ]
    history = History(store, 3)
    rows = Joint().training_rows(history, Joint().empty_memory())
    model = Popularity().fit(rows, FitOptions(seed=derive_seed(7, 3, "joint", "popularity")))
    evaluation = build_evaluation(store, 3, ProtocolSettings(), 0)
    results = evaluate(model, evaluation)
    assert [figure.value for figure in cell.figures] == [result.values.mean for result in results]
    own = history.rows(first=3).interactions
    assert cell.fit_report == {
        "rows_given": rows.num_rows,
        "rows_used": rows.num_rows,
        "reg": 5.0,
        "kept_rows": 0,
        "memory_bytes": 0,
        "log_bytes": 0,
        "kept_interactions": rows.interactions.nnz - own.nnz,
        "kept_model_bytes": 0,
        "draws_at_random": True,
    }
    judged = read_evaluated_users(store, run_id)[cell.evaluation_key]
    np.testing.assert_array_equal(judged.users, evaluation.users)
    assert judged.counts == dataclasses.asdict(evaluation.counts)


def test_an_evaluation_is_built_once_per_period(store, config, monkeypatch):
    built = []

    def build(store, fit_period, *protocol, **options):
        built.append(fit_period)
        return build_evaluation(store, fit_period, *protocol, **options)

    monkeypatch.setattr(cells, "build_evaluation", build)
    run_id, _ = replay(store, config)
    assert built == [1, 2, 3, 4]
    assert len(read_evaluated_users(store, run_id)) == 4


def test_events_describe_the_whole_run(store, config):
    events = []
    run_replay(store, config, listener=events.append)
    assert events[-1] == RunFinished(run_id=1)
    finished = [event for event in events if isinstance(event, CellFinished)]
    assert [event.num_done for event in finished] == list(range(1, 17))
    started = [event for event in events if isinstance(event, CellStarted)]
    assert [event.cell for event in started] == [event.name for event in finished]
    assert events[0] == RunStarted(run_id=1, cells=tuple(event.name for event in finished))
    texts = {event.text for event in events if isinstance(event, StageMessage)}
    assert "counting" in texts
    assert any("evaluated" in text for text in texts)


def test_times_come_from_the_clock(store, config):
    ticks = itertools.count()
    clock = Clock(
        seconds=lambda: float(next(ticks)),
        now=lambda: datetime(2025, 6, 7, 8, 9, 10),
        peak_rss_bytes=lambda: 12345,
    )
    run_id, _ = replay(store, config, clock=clock)
    first, *others = read_cells(store, run_id)
    assert first.stages == {"prepare": 1.0, "rows": 1.0, "fit": 1.0, "evaluate": 1.0}
    assert all(set(cell.stages.values()) == {1.0} for cell in others)
    assert {cell.peak_rss_bytes for cell in (first, *others)} == {12345}
    assert {cell.finished for cell in (first, *others)} == {datetime(2025, 6, 7, 8, 9, 10)}
    assert [s for cell in others for s in cell.stages].count("prepare") == 3


def test_a_rerun_makes_nothing_again_unless_it_is_fresh(store, config):
    first, _ = replay(store, config)
    second, made = replay(store, config)
    assert made == []
    assert read_cells(store, first) == read_cells(store, second)
    third, made = replay(store, config, fresh=True)
    assert len(made) == 16
    assert figures_of(store, first) == figures_of(store, second) == figures_of(store, third)


def test_one_more_period_makes_only_its_cells(tmp_path, toy_log, config):
    early, last = split_last_day(toy_log, tmp_path)
    with Store.open(tmp_path / "grown.duckdb") as grown:
        fill(grown, early, num_periods=4)
        before, _ = replay(grown, config)
        ingest_period(grown, last)
        after, made = replay(grown, config)
        assert {name[3] for name in made} == {4}
        assert len(read_cells(grown, before)) == 12
        grown_figures = figures_of(grown, after)
    with Store.open(tmp_path / "whole.duckdb") as whole:
        run_id, _ = replay(fill(whole, toy_log), config)
        assert figures_of(whole, run_id) == grown_figures


@pytest.mark.parametrize(
    "change",
    [
        {"strategy_settings": {"toy": {"size": 2}}},
        {"seeds": (1,)},
        {"models": (ModelChoice("popularity", {"noise": 0.2}),)},
        {"max_rows": 5},
        {"protocol": ProtocolSettings(protocol="returning")},
        {"protocol": ProtocolSettings(mask_context=False)},
        {"evaluation_seed": 1},
    ],
)
def test_other_settings_make_other_cells(store, change):
    config = ReplayConfig(strategies=("toy",), models=(POPULARITY,), seeds=(0,))
    first, _ = replay(store, config)
    second, made = replay(store, dataclasses.replace(config, **change))
    assert len(made) == 4
    keys = {cell.key for cell in read_cells(store, first)}
    assert keys.isdisjoint(cell.key for cell in read_cells(store, second))


def test_other_code_makes_other_cells(store, config, monkeypatch):
    replay(store, config)
    monkeypatch.setattr(loop, "read_versions", lambda: {"code": "another"})
    assert len(replay(store, config)[1]) == 16


def test_the_name_of_a_run_changes_nothing(store, config):
    replay(store, config)
    named = dataclasses.replace(config, source="a.csv", cut="day")
    run_id, made = replay(store, named)
    assert made == []
    assert read_run(store, run_id).config["source"] == "a.csv"


def test_a_memory_limit_counts_only_where_it_bites(store):
    config = ReplayConfig(strategies=("joint",), models=(POPULARITY,))
    largest = read_cells(store, replay(store, config)[0])[-1].fit_report["rows_used"]

    def made_with(rows):
        limit = None if rows is None else rows * BYTES_PER_ROW
        return [
            name[3] for name in replay(store, dataclasses.replace(config, memory_limit=limit))[1]
        ]

    assert made_with(None) == []
    assert made_with(largest + 5) == [1, 2, 3, 4]  # whether it bites is not known before
    assert (made_with(largest + 5), made_with(largest + 9), made_with(None)) == ([], [], [])
    small = made_with(20)
    assert small == [1, 2, 3, 4]
    assert made_with(20) == []
    run_id, _ = replay(store, dataclasses.replace(config, memory_limit=20 * BYTES_PER_ROW))
    used = [cell.fit_report["rows_used"] for cell in read_cells(store, run_id)]
    assert max(used) == 20
    run_id, made = replay(store, config)
    assert made == []
    assert read_cells(store, run_id)[-1].fit_report["rows_used"] == largest


@pytest.mark.parametrize("num_done", [1, 3, 5])
def test_a_stored_memory_is_restored_without_a_model(store, num_done):
    with pytest.raises(KeyboardInterrupt):
        run_replay(store, STORED, listener=interrupt_after(num_done))
    run_id, made = replay(store, STORED)
    assert len(made) == 8 - num_done
    fresh, _ = replay(store, STORED, fresh=True)
    assert figures_of(store, run_id) == figures_of(store, fresh)


def test_a_memory_is_updated_once_a_period_and_timed_with_the_next(store, monkeypatch):
    absorbed = []

    def update(self, history, model, seed, say, **_):
        absorbed.append((history.period, seed))
        return LastRow(absorbed=(*self.absorbed, history.period))

    monkeypatch.setattr(LastRow, "update", update)
    config = ReplayConfig(strategies=("toy",), models=(POPULARITY,), seeds=(5,))
    run_id, _ = replay(store, config)
    assert absorbed == [(period, 5) for period in (1, 2, 3)]
    cells = read_cells(store, run_id)
    assert ["memory" in cell.stages for cell in cells] == [False, True, True, True]


def test_a_warm_start_begins_from_the_previous_model(store):
    config = ReplayConfig(
        strategies=("individual",), models=(ModelChoice("popularity", {"warm": True}),)
    )
    warm, _ = replay(store, config)
    cold, _ = replay(store, dataclasses.replace(config, models=(POPULARITY,)))
    figures = [
        [[figure.value for figure in cell.figures] for cell in read_cells(store, run_id)]
        for run_id in (warm, cold)
    ]
    assert figures[0][0] == figures[1][0]
    assert all(one != other for one, other in zip(figures[0][1:], figures[1][1:], strict=True))
    kept = [path.name for path in store.models_folder.iterdir()]
    assert len(kept) == 1, "one model per chain is kept"


def test_a_failing_fit_leaves_what_was_finished(store, config, monkeypatch):
    original = Popularity.fit

    def fail_late(self, rows, options):
        if rows.num_items > 19:
            raise UserError("it fails")
        return original(self, rows, options)

    monkeypatch.setattr(Popularity, "fit", fail_late)
    with pytest.raises(UserError, match="it fails"):
        replay(store, config)
    assert read_run(store).status == "interrupted"
    assert 0 < len(read_cells(store, 1)) < 16


def test_a_period_in_which_nobody_can_be_evaluated(tmp_path):
    path = tmp_path / "log.csv"
    lines = write_log(path).read_text().splitlines()
    day = [(int(line.split(",")[2]) - 1_000_000_000) // 86_400 for line in lines[1:]]
    # Nobody comes back on the third day.
    renamed = [
        f"new{line}" if number == 2 else line for line, number in zip(lines[1:], day, strict=True)
    ]
    path.write_text("\n".join([lines[0], *renamed]) + "\n")
    config = ReplayConfig(
        strategies=("individual", "joint"),
        models=(POPULARITY,),
        seeds=(0, 1),
        protocol=ProtocolSettings(protocol="returning"),
    )
    with Store.open(tmp_path / "store.duckdb") as store:
        run_id, _ = replay(fill(store, path), config)
        summary = summarise(load_run(store, run_id), num_resamples=20)
        text = json.dumps(summary.to_json(), allow_nan=False)
    empty = [result for result in summary.results if result.eval_period == 3]
    assert empty
    assert all((result.value, result.num_users) == (None, 0) for result in empty)
    assert all(mean.stderr is not None for mean in summary.means)
    assert json.loads(text)["means"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ()}, "no strategy"),
        ({"strategies": ("joint", "joint")}, "strategy is given twice"),
        ({"strategies": ("magic",)}, "unknown strategy 'magic'"),
        ({"models": ()}, "no model"),
        ({"models": (POPULARITY, ModelChoice("popularity", {"noise": 1}))}, "model is given twice"),
        ({"models": (ModelChoice("magic"),)}, "unknown model 'magic'"),
        ({"models": (ModelChoice("popularity", {"magic": 1}),)}, "no setting 'magic'"),
        ({"seeds": ()}, "no seed"),
        ({"seeds": (1, 1)}, "seed is given twice"),
    ],
)
def test_settings_that_make_no_run_change_nothing(store, config, change, message):
    with pytest.raises(UserError, match=message):
        run_replay(store, dataclasses.replace(config, **change))
    with pytest.raises(UserError, match="no run"):
        read_run(store)


def test_no_rows_to_fit_on(store, monkeypatch):
    def nobody(self, history, memory):
        return TrainingRows.of_users(history.rows(first=1)).take(np.arange(0))

    monkeypatch.setattr(Joint, "training_rows", nobody)
    with pytest.raises(UserError, match="no rows to fit on at period 1"):
        run_replay(store, ReplayConfig(strategies=("joint",), models=(POPULARITY,)))
