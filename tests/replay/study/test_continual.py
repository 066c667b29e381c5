"""Studies with real workers: figures are equal to the bit, whatever is lost on the way."""

import os
import shutil
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from made_studies import CONFIG, Recorder, assert_counted_once, make_log_store
from replays import figures_of

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.study import continual_worker
from perennial.replay.study.continual import ContinualStudy, StudyRuns, run_continual
from perennial.storage.errors import UserError
from perennial.storage.results.cells import read_cells
from perennial.storage.results.runs import list_runs, read_run
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers

NUM_PERIODS = 4

WARM = ModelChoice("popularity", {"warm": True})
CONFIG_OF_TOYS = ReplayConfig(strategies=("individual", "toy"), models=(WARM,))


class StudyRecorder(Recorder):
    """Events of a study's workers, and the cells that this process computed."""

    def __init__(self):
        super().__init__()
        self.made_here = []

    def listen(self, event):
        if isinstance(event, CellFinished) and event.cell is not None:
            self.made_here.append(event.name)

    def made(self):
        """Cells that workers made, as (task, fit period, evaluated period)."""
        cells = [
            (event.task.name, *(event.details["cell"][of] for of in ("fit_period", "eval_period")))
            for event in self
            if event.kind == "finished" and event.details["seconds"] is not None
        ]
        assert len(set(cells)) == len(cells), "no cell is made twice"
        return cells

    def count(self, *kinds):
        return tuple(len(self.names(kind)) for kind in kinds)


def run(path, num_workers, events, on_event=None):
    """Run a study; the linking of its cells must compute none."""
    study = ContinualStudy(CONFIG, HeldOutUsers(0.4), (0,), num_workers)
    runs = run_continual(path, study, on_event=on_event or events, listener=events.listen)
    assert events.made_here == []
    return runs


def figures(path: Path, runs: StudyRuns) -> dict:
    """Read all that must be equal however a study came about."""
    with Store.open(path) as store:
        return {
            (which == runs.main, *name): made
            for which in (runs.main, runs.transfer)
            for name, made in figures_of(store, which).items()
        }


def assert_whole(path: Path, runs: StudyRuns) -> None:
    """Check that each cell is there, once, and no other file than the store."""
    num_fits = len(CONFIG.strategies) * (NUM_PERIODS - 1)
    with Store.open(path) as store:
        assert len(read_cells(store, runs.main)) == num_fits
        assert len(read_cells(store, runs.transfer)) == num_fits * NUM_PERIODS
    assert_counted_once(path, num_fits * (1 + NUM_PERIODS), num_models=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, log_store):
    """The study with one worker: its store, its runs, and its events."""
    path = Path(shutil.copy(log_store, tmp_path_factory.mktemp("whole") / "store.duckdb"))
    events = StudyRecorder()
    return path, run(path, 1, events), events


@pytest.mark.slow
class TestWorkers:
    def test_one_worker_makes_all_cells(self, whole):
        path, runs, events = whole
        assert_whole(path, runs)
        assert events.count("attempt", "done", "lost") == (4, 4, 0)
        assert len(events.made()) == 30
        sizes = {event.task.name: event.task.num_cells for event in events}
        expected = {"individual seed 0 transfer": 12, "ader seed 0 transfer": 12}
        assert sizes == expected | {"individual seed 0": 3, "ader seed 0": 3}
        assert events.names("stage") != []

    def test_the_newest_run_evaluates_the_next_period(self, whole):
        path, runs, _ = whole
        with Store.open(path) as store:
            assert read_run(store).run_id == runs.main
            assert [one.run_id for one in list_runs(store)] == [runs.transfer, runs.main]
            assert {one.status for one in list_runs(store)} == {"finished"}
            main, transfer = read_cells(store, runs.main), read_cells(store, runs.transfer)
            assert read_run(store, runs.transfer).config["held_out"] == {"share": 0.4, "seed": 0}
            assert read_run(store, runs.main).config["held_out"] is None
        assert {(c.fit_period, c.eval_period) for c in main} == {(1, 2), (2, 3), (3, 4)}
        assert sorted((c.strategy, c.fit_period, c.eval_period) for c in transfer) == [
            (name, t, j) for name in ("ader", "individual") for t in (1, 2, 3) for j in (1, 2, 3, 4)
        ]
        assert {cell.fit_key for cell in main}.isdisjoint(cell.fit_key for cell in transfer)

    @pytest.mark.campaign
    @pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
    def test_two_workers_of_which_one_is_killed_make_the_same(self, path, whole):
        events = StudyRecorder()

        def kill(event):
            events(event)
            if event.kind == "finished" and events.count("finished") == (1,):
                os.kill(event.pid, signal.SIGKILL)

        runs = run(path, 2, events, kill)
        assert events.count("attempt", "done", "lost") == (5, 4, 1)
        events.made()
        assert_whole(path, runs)
        assert figures(path, runs) == figures(*whole[:2])

    @pytest.mark.campaign
    def test_an_interrupted_study_resumes_with_other_workers(self, path, whole):
        first, second = StudyRecorder(), StudyRecorder()

        def interrupt(event):
            first(event)
            if event.kind == "finished" and first.count("attempt") == (2,):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(path, 1, first, interrupt)
        folder = path.with_name(path.name + ".study")
        (left,) = folder.glob("*.task.duckdb")
        assert left.name == "ader-seed-0-transfer.task.duckdb"
        with Store.open(path) as store:
            assert store.rows("SELECT count(*) FROM cells") == [(12,)], "of the finished task"
        runs = run(path, 2, second)
        assert set(first.made()).isdisjoint(second.made())
        left = {"ader seed 0 transfer", "individual seed 0", "ader seed 0"}
        assert {event.task.name for event in second} == left
        # The killed worker may have written a cell before its event.
        assert len(first.made()) + len(second.made()) <= 30
        assert_whole(path, runs)
        assert figures(path, runs) == figures(*whole[:2])


class WorkHere:
    """Executor that runs tasks in this process, and is interrupted after a number of cells."""

    num_workers = workers_per_machine = 1

    def __init__(self, monkeypatch, last_cell=None):
        self.versions, self.made, self.last_cell = {"code": "toys"}, [], last_cell
        monkeypatch.setattr(continual_worker, "emit", self.emit)

    def emit(self, kind, cell=None, seconds=None, **_):
        if kind == "finished" and seconds is not None:
            self.made.append(tuple(cell.values()))
            if len(self.made) == self.last_cell:
                raise KeyboardInterrupt

    def run_tasks(self, batch):
        for task in batch.tasks:
            continual_worker._work(task.request.to_line())
            batch.collect(task)


@pytest.mark.usefixtures("with_toys")
def test_a_study_resumes_from_the_stores_that_an_interrupted_one_left(path, tmp_path, monkeypatch):
    whole = Path(shutil.copy(path, tmp_path / "whole.duckdb"))
    study = ContinualStudy(CONFIG_OF_TOYS, HeldOutUsers(0.4), (0,), 1)

    def run(path, last_cell=None):
        executor = WorkHere(monkeypatch, last_cell)
        with pytest.raises(KeyboardInterrupt) if last_cell else nullcontext():
            return executor.made, run_continual(path, study, on_event=print, executor=executor)
        return executor.made, None

    # The first task's twelve cells and the second one's first fit.
    first, _ = run(path, last_cell=16)
    (left,) = path.with_name(path.name + ".study").glob("*.task.duckdb")
    with Store.open(path) as store, Store.open(left) as own:
        assert [one.rows("SELECT count(*) FROM cells") for one in (store, own)] == [[(12,)], [(4,)]]
    second, runs = run(path)
    made, expected = run(whole)
    assert sorted(first + second) == sorted(made)
    assert len(first) == 16
    assert figures(path, runs) == figures(whole, expected)
    assert_counted_once(path, 30, num_models=4)


class TestPlan:
    def test_workers_share_the_memory_and_transfer_can_be_left_out(self):
        config = ReplayConfig(seeds=(3, 4), memory_limit=1000)
        study = ContinualStudy.of(config, transfer=True, num_workers=4)
        assert (study.main.memory_limit, study.transfer.memory_limit) == (250, 250)
        assert (study.transfer.seeds, study.transfer.held_out) == ((3,), HeldOutUsers(0.1, 0))
        assert study.configs == (study.transfer, study.main)
        study = ContinualStudy.of(ReplayConfig(seeds=(3, 4)), transfer=False, num_workers=4)
        assert study.transfer is None
        assert study.configs == (study.main,) == (ReplayConfig(seeds=(3, 4)),)

    def test_one_period_is_too_few(self, tmp_path):
        path = make_log_store(tmp_path, 1)
        with pytest.raises(UserError, match="a replay needs two"):
            run(path, 1, StudyRecorder())
        assert not path.with_name(path.name + ".study").exists()
