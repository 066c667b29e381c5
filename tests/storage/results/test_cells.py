"""Cells come back as they went in, whole or not at all; runs are numbered, end, and are found."""

import numpy as np
import pytest
from stored_results import START, make_cell, make_evaluated, make_user_figures

from perennial.storage.results.cells import (
    Figure,
    UserFigure,
    insert_cell,
    read_cells,
    read_evaluated_users,
    read_user_figures,
)
from perennial.storage.results.fits import Fit, insert_fit
from perennial.storage.results.runs import (
    end_run,
    insert_run_cell,
    list_runs,
    read_run,
    start_run,
)


def record(store, run_id, cell, users=(4, 9, 2), values=None):
    with store.transaction():
        insert_fit(store, Fit(cell.fit_key, None, cell.fit_report))
        insert_cell(store, cell, make_evaluated(cell, users), values or make_user_figures())
        insert_run_cell(store, run_id, cell.key)


def new_run(store):
    return start_run(store, {"seeds": [1]}, {"jax": "0"}, 4, START)


def check_user_figures(store, run_id, expected):
    (figures,) = read_user_figures(store, run_id).values()
    for figure, given in zip(figures, expected, strict=True):
        assert (figure.metric, figure.k) == (given.metric, given.k)
        np.testing.assert_array_equal(figure.values, given.values)
        np.testing.assert_array_equal(figure.weights, given.weights)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_round_trip_of_any_number_of_users(store, size):
    rng = np.random.default_rng(size)
    drawn = [(rng.normal(scale=1e6, size=size), rng.random(size)) for _ in range(4)]
    values = [
        UserFigure("HR", k, one.astype(np.float32), other.astype(np.float32) if k % 2 else None)
        for k, (one, other) in enumerate(drawn)
    ]
    figures = tuple(Figure("HR", one.k, 1.0, size) for one in values)
    run_id = new_run(store)
    record(store, run_id, make_cell(figures=figures), range(size), values)
    assert read_cells(store, run_id)[0].figures == figures
    (evaluated,) = read_evaluated_users(store, run_id).values()
    np.testing.assert_array_equal(evaluated.users, np.arange(size))
    check_user_figures(store, run_id, values)


def test_cells_stay_in_order_and_belong_to_several_runs(store):
    first = new_run(store)
    for key in "zamb":
        record(store, first, make_cell(key))
    second = new_run(store)
    with store.transaction():
        insert_run_cell(store, second, "b")
    assert [cell.key for cell in read_cells(store, first)] == list("zamb")
    assert [cell.key for cell in read_cells(store, second)] == ["b"]
    assert list(read_user_figures(store, second)) == ["b"]


def test_the_same_key_again_replaces(store):
    run_id = new_run(store)
    record(store, run_id, make_cell())
    changed = make_cell(peak_rss_bytes=1)
    record(store, new_run(store), changed)
    assert read_cells(store, run_id) == (changed,)
    assert len(read_user_figures(store, run_id)["cell"]) == 2


def test_a_cell_without_figures(store):
    run_id = new_run(store)
    with store.transaction():
        insert_fit(store, Fit("fit", None, {}))
        insert_cell(store, make_cell(figures=()), make_evaluated(make_cell(), ()), [])
        insert_run_cell(store, run_id, "cell")
    assert read_cells(store, run_id)[0].figures == ()
    assert read_evaluated_users(store, run_id)["evaluation"].users.shape == (0,)
    assert read_user_figures(store, run_id) == {}


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
