"""Cells made by real workers: equal to the bit, made once, and again if a worker dies."""

import os
import signal
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from made_studies import Recorder
from paper_toys import FAST, make_context, write_split

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.fit import make_cell
from perennial.replay.study.paper.records import record_path
from perennial.replay.study.paper.rows import make_rows, rows_path
from perennial.replay.study.paper.runner import plan_tasks, run_cells
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError

MODEL = ModelChoice("infinite-ae", FAST["infinite-ae"])
CELLS = (
    StudyCell(TrainingSet(), MODEL, 0),
    StudyCell(TrainingSet("user-rns", 10), MODEL, 0),
    StudyCell(TrainingSet("user-rns", 10), ModelChoice("infinite-ae", {"reg": 5.0}), 0),
)
"""A cell of all users, and two that share their rows."""


def num_tasks(context, cells):
    return sum(map(len, plan_tasks(context, cells)))


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> Path:
    return write_split(tmp_path_factory.mktemp("split") / "split.parquet")


@pytest.fixture
def context(split, tmp_path):
    return make_context(split, tmp_path / "study")


def figures(records):
    return [(one.key, one.values, one.fit_report, one.num_interactions) for one in records]


@pytest.fixture(scope="module")
def whole(split, tmp_path_factory):
    """The cells with one worker, and its events."""
    events = Recorder()
    context = make_context(split, tmp_path_factory.mktemp("whole") / "study")
    return context, run_cells(context, CELLS, 1, events), events


@pytest.mark.slow
class TestWorkers:
    def test_rows_are_made_once_and_before_the_cells_that_need_them(self, whole):
        _, records, events = whole
        assert events.names("done") == [
            "user-rns 10 seed 0",
            "all-users infinite-ae seed 0",
            *["user-rns 10 infinite-ae seed 0"] * 2,
        ]
        assert [one.num_rows for one in records] == [40, 10, 10]
        assert records[1].num_interactions == records[2].num_interactions == 90
        assert all(one.peak_bytes > 2**20 and one.seconds["fit"] > 0 for one in records)
        assert {one.test_users for one in records} == {40}

    def test_nothing_is_left_but_cells_and_rows(self, whole):
        folder = Path(whole[0].folder)
        names = {path.name for path in folder.iterdir()} - {".lock"}
        assert names == {"cells", "rows"}
        assert len(list((folder / "cells").iterdir())) == 3
        assert len(list((folder / "rows").iterdir())) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
    def test_two_workers_of_which_one_is_killed_make_the_same(self, context, whole):
        killed, events = "all-users infinite-ae seed 0", Recorder()

        def kill(event):
            events(event)
            if (event.kind, event.task.name) == ("stage", killed) and not events.names("lost"):
                os.kill(event.pid, signal.SIGKILL)

        records = run_cells(context, CELLS, 2, kill)
        assert events.names("lost") == [killed]
        assert sorted(events.names("done")) == sorted(whole[2].names("done"))
        assert figures(records) == figures(whole[1])

    def test_a_cell_that_cannot_be_made_ends_the_study(self, context):
        gone = make_context(Path(context.split).with_name("gone.parquet"), Path(context.folder))
        with pytest.raises(UserError, match="cannot be read as a split log"):
            run_cells(gone, CELLS[:1], 1, Recorder())
        assert num_tasks(gone, CELLS[:1]) == 1


def test_finished_cells_and_rows_are_not_planned_again(context):
    assert num_tasks(context, CELLS) == 4
    make_rows(context, CELLS[1].rows, 0, ignore_progress)
    assert num_tasks(context, CELLS) == 3
    for cell in CELLS[:2]:
        make_cell(context, cell, ignore_progress)
    first, later = plan_tasks(context, CELLS)
    assert (first, [task.name for task in later]) == ([], [CELLS[2].name])
    record_path(Path(context.folder), context.cell_key(CELLS[0])).write_text("{")
    rows_path(context, CELLS[1].rows, 0).write_bytes(b"damaged")
    assert [len(tasks) for tasks in plan_tasks(context, CELLS)] == [2, 1]


def test_workers_share_the_memory(context):
    (task,), _ = plan_tasks(context, CELLS[:1], 1000)
    assert task.request.memory_limit == 1000
    with pytest.raises(UserError, match="over the memory limit"):
        make_cell(context, CELLS[0], ignore_progress, memory_limit=1000)
    assert num_tasks(context, CELLS[:1]) == 1


def test_a_folder_is_locked_by_a_study(context):
    Path(context.folder).mkdir()
    with FileLock(Path(context.folder) / ".lock"), pytest.raises(UserError, match="is at work"):
        run_cells(context, CELLS, 1, Recorder())
