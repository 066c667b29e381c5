"""Studies with real workers: the same figures to the bit, whatever happens on the way."""

import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from made_studies import assert_counted_once, figures_of
from toys import fill, write_log

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.study.continual import ContinualStudy, StudyRuns, run_continual
from perennial.storage.errors import UserError
from perennial.storage.results.cells import read_cells
from perennial.storage.results.runs import list_runs, read_run
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers

NUM_PERIODS = 4
CONFIG = ReplayConfig(
    # One that is alone, and one whose fits follow on one another and keep a model.
    strategies=("individual", "ader"),
    strategy_settings={"ader": {"budget": 5}},
    models=(ModelChoice("infinite-ae", {"reg": 5.0}),),
)


def study(num_workers):
    return ContinualStudy(CONFIG, HeldOutUsers(0.4), (0,), num_workers)


@dataclass
class Told:
    """What a study said on its way."""

    events: list = field(default_factory=list)
    made_here: list = field(default_factory=list)

    def watch(self, event):
        self.events.append(event)

    def listen(self, event):
        if isinstance(event, CellFinished) and event.cell is not None:
            self.made_here.append(event.name)

    @property
    def made(self):
        """Cells that workers made, as (task, fit period, evaluated period)."""
        return [
            (
                event.task.name,
                event.details["cell"]["fit_period"],
                event.details["cell"]["eval_period"],
            )
            for event in self.events
            if event.kind == "finished" and event.details["seconds"] is not None
        ]

    def count(self, kind):
        return sum(event.kind == kind for event in self.events)


def figures(path: Path, runs: StudyRuns) -> dict:
    """All that must be the same however a study came about."""
    with Store.open(path) as store:
        return {
            (which == runs.main, *name): found
            for which in (runs.main, runs.transfer)
            for name, found in figures_of(store, which).items()
        }


def assert_whole(path: Path, runs: StudyRuns) -> None:
    """Every cell is there, once, and nothing is left beside the store."""
    num_fits = len(CONFIG.strategies) * (NUM_PERIODS - 1)
    with Store.open(path) as store:
        assert len(read_cells(store, runs.main)) == num_fits
        assert len(read_cells(store, runs.transfer)) == num_fits * NUM_PERIODS
    assert_counted_once(path, num_fits * (1 + NUM_PERIODS), num_models=2)


@pytest.fixture(scope="module")
def log_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    path = folder / "log.duckdb"
    with Store.open(path) as store:
        fill(store, write_log(folder / "log.csv", num_periods=NUM_PERIODS), NUM_PERIODS)
    return path


@pytest.fixture
def path(tmp_path, log_store):
    return Path(shutil.copy(log_store, tmp_path / "store.duckdb"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory, log_store):
    """The study with one worker: its store, its runs, and what it said."""
    path = Path(shutil.copy(log_store, tmp_path_factory.mktemp("alone") / "store.duckdb"))
    told = Told()
    runs = run_continual(path, study(1), watch=told.watch, listener=told.listen)
    return path, runs, told


@pytest.mark.slow
def test_one_worker_makes_it_all(alone):
    path, runs, told = alone
    assert_whole(path, runs)
    assert told.made_here == []
    assert (told.count("begun"), told.count("done"), told.count("lost")) == (4, 4, 0)
    assert len(set(told.made)) == len(told.made) == 30
    expected = {event.task.name: event.task.num_cells for event in told.events}
    assert expected == {
        "individual seed 0 transfer": 12,
        "ader seed 0 transfer": 12,
        "individual seed 0": 3,
        "ader seed 0": 3,
    }
    assert any(event.kind == "stage" for event in told.events)


@pytest.mark.slow
def test_the_newest_run_is_about_the_next_period(alone):
    path, runs, _ = alone
    with Store.open(path) as store:
        assert read_run(store).run_id == runs.main
        assert [run.run_id for run in list_runs(store)] == [runs.transfer, runs.main]
        assert {run.status for run in list_runs(store)} == {"finished"}
        main, transfer = read_cells(store, runs.main), read_cells(store, runs.transfer)
        assert read_run(store, runs.transfer).config["held_out"] == {"share": 0.4, "seed": 0}
        assert read_run(store, runs.main).config["held_out"] is None
    assert {(c.fit_period, c.eval_period) for c in main} == {(1, 2), (2, 3), (3, 4)}
    for strategy in CONFIG.strategies:
        asked = sorted(
            (cell.fit_period, cell.eval_period) for cell in transfer if cell.strategy == strategy
        )
        assert asked == [(t, j) for t in (1, 2, 3) for j in (1, 2, 3, 4)]
    assert {cell.fit_key for cell in main}.isdisjoint(cell.fit_key for cell in transfer)


@pytest.mark.slow
def test_again_it_makes_nothing(alone):
    path, runs, _ = alone
    wanted, told = figures(path, runs), Told()
    again = run_continual(path, study(2), watch=told.watch, listener=told.listen)
    assert told.events == []
    assert told.made_here == []
    assert again.main == runs.main + 2
    assert figures(path, again) == wanted


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_two_workers_of_which_one_is_killed_make_the_same(path, alone):
    told = Told()

    def watch(event):
        told.watch(event)
        if event.kind == "finished" and told.count("finished") == 1:
            os.kill(event.pid, signal.SIGKILL)

    runs = run_continual(path, study(2), watch=watch, listener=told.listen)
    assert told.count("lost") == 1
    assert (told.count("begun"), told.count("done")) == (5, 4)
    assert len(set(told.made)) == len(told.made), "no cell is made twice"
    assert told.made_here == []
    assert_whole(path, runs)
    assert figures(path, runs) == figures(*alone[:2])


@pytest.mark.slow
def test_an_interrupted_study_goes_on_with_other_workers(path, alone):
    first, second = Told(), Told()

    def watch(event):
        first.watch(event)
        if event.kind == "finished" and first.count("begun") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_continual(path, study(1), watch=watch)
    folder = path.with_name(path.name + ".study")
    (left,) = folder.glob("*.task.duckdb")
    assert left.name == "ader-seed-0-transfer.task.duckdb"
    with Store.open(path) as store:
        assert store.rows("SELECT count(*) FROM cells") == [(12,)], "of the task that was done"
    runs = run_continual(path, study(2), watch=second.watch, listener=second.listen)
    assert set(first.made).isdisjoint(second.made)
    assert {event.task.name for event in second.events} == {
        "ader seed 0 transfer",
        "individual seed 0",
        "ader seed 0",
    }
    # What the worker had written when it was killed counts, told or not.
    assert len(first.made) + len(second.made) <= 30
    assert second.made_here == []
    assert_whole(path, runs)
    assert figures(path, runs) == figures(*alone[:2])


class TestPlan:
    def test_workers_share_the_memory(self):
        asked = ContinualStudy.of(
            ReplayConfig(seeds=(3, 4), memory_limit=1000), transfer=True, num_workers=4
        )
        assert asked.main.memory_limit == 250
        assert asked.transfer.memory_limit == 250
        assert asked.transfer.seeds == (3,)
        assert asked.transfer.held_out == HeldOutUsers(0.1, 0)
        assert asked.configs == (asked.transfer, asked.main)

    def test_transfer_can_be_left_out(self):
        asked = ContinualStudy.of(ReplayConfig(seeds=(3, 4)), transfer=False, num_workers=4)
        assert asked.transfer is None
        assert asked.configs == (asked.main,)
        assert asked.main == ReplayConfig(seeds=(3, 4))

    def test_one_period_is_too_few(self, tmp_path):
        path = tmp_path / "short.duckdb"
        with Store.open(path) as store:
            fill(store, write_log(tmp_path / "log.csv", num_periods=1), 1)
        with pytest.raises(UserError, match="a replay needs two"):
            run_continual(path, study(1), watch=lambda event: None)
        assert not path.with_name(path.name + ".study").exists()
