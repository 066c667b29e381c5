"""Runs are numbered, end, and are found again."""

from datetime import datetime

import pytest

from perennial.storage.errors import UserError
from perennial.storage.results.runs import end_run, list_runs, read_run, start_run

START = datetime(2025, 1, 2, 3, 4, 5, 678)


def new_run(store):
    return start_run(store, {"seeds": [1]}, {"jax": "0"}, 4, START)


def test_runs_are_numbered_and_end(store):
    first = new_run(store)
    end_run(store, first, "finished", START)
    second = new_run(store)
    assert (first, second) == (1, 2)
    assert [run.status for run in list_runs(store)] == ["finished", "running"]
    run = read_run(store, 1)
    assert (run.started, run.ended, run.config, run.num_cells) == (START, START, {"seeds": [1]}, 4)
    assert read_run(store).run_id == 2


def test_a_run_left_by_a_killed_process_is_closed(store):
    new_run(store)
    new_run(store)
    assert [run.status for run in list_runs(store)] == ["interrupted", "running"]


def test_no_such_run(store):
    with pytest.raises(UserError, match="no run in the store"):
        read_run(store)
    new_run(store)
    with pytest.raises(UserError, match="no run 7"):
        read_run(store, 7)
