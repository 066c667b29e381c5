"""Cells come back as they went in, whole or not at all."""

import dataclasses
from datetime import datetime

import numpy as np
import pytest

from perennial.storage.results.cells import (
    Cell,
    EvaluatedUsers,
    Figure,
    UserFigure,
    has_cell,
    insert_cell,
    read_cells,
    read_evaluated_users,
    read_user_figures,
)
from perennial.storage.results.fits import Fit, insert_fit
from perennial.storage.results.runs import insert_run_cell, link_cell, start_run

START = datetime(2025, 1, 2, 3, 4, 5, 678)
COUNTS = {"skipped_users": 3, "targets": 17}


def make_cell(key="cell", evaluation="asked", **changes):
    figures = (Figure("HR", 10, 12.5, 3), Figure("AUC", None, None, 3))
    cell = Cell(
        key=key,
        fit_key="fit",
        evaluation_key=evaluation,
        strategy="joint",
        model="it's; a model",
        seed=2**62,
        fit_period=4,
        eval_period=5,
        figures=figures,
        fit_report={"reg": 5.0, "note": None},
        stages={"fit": 1.5, "evaluate": 0.25},
        peak_rss_bytes=2**40,
        versions={"jax": "0"},
        finished=START,
    )
    return dataclasses.replace(cell, **changes)


def make_judged(key="asked", users=(4, 9, 2)):
    return EvaluatedUsers(key, 4, 5, np.array(users, np.int32), COUNTS)


def user_figures():
    return [
        UserFigure("HR", 10, np.array([1, 2, 3], np.float32), None),
        UserFigure("AUC", None, np.zeros(3, np.float32), np.array([0, 1, 2.5], np.float32)),
    ]


def record(store, run_id, cell, judged=None, values=None):
    with store.transaction():
        insert_fit(store, Fit(cell.fit_key, None, cell.fit_report))
        insert_cell(store, cell, judged or make_judged(), values or user_figures())
        insert_run_cell(store, run_id, cell.key)


def new_run(store):
    return start_run(store, {"seeds": [1]}, {"jax": "0"}, 4, START)


def test_cell_round_trip(store):
    run_id = new_run(store)
    cell = make_cell()
    record(store, run_id, cell)
    assert read_cells(store, run_id) == (cell,)
    assert has_cell(store, "cell")
    assert not has_cell(store, "other")


def test_user_figures_round_trip(store):
    run_id = new_run(store)
    record(store, run_id, make_cell())
    (found,) = read_user_figures(store, run_id).values()
    for one, given in zip(found, user_figures(), strict=True):
        assert (one.metric, one.k) == (given.metric, given.k)
        np.testing.assert_array_equal(one.values, given.values)
        if given.weights is None:
            assert one.weights is None
        else:
            np.testing.assert_array_equal(one.weights, given.weights)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_any_number_of_users_comes_back(store, size):
    rng = np.random.default_rng(size)
    values = [
        UserFigure(
            "HR",
            k,
            rng.normal(scale=1e6, size=size).astype(np.float32),
            rng.random(size).astype(np.float32) if k % 2 else None,
        )
        for k in range(4)
    ]
    figures = tuple(Figure("HR", one.k, 1.0, size) for one in values)
    run_id = new_run(store)
    record(store, run_id, make_cell(figures=figures), make_judged(users=range(size)), values)
    assert read_cells(store, run_id)[0].figures == figures
    (judged,) = read_evaluated_users(store, run_id).values()
    np.testing.assert_array_equal(judged.users, np.arange(size))
    (found,) = read_user_figures(store, run_id).values()
    for one, given in zip(found, values, strict=True):
        np.testing.assert_array_equal(one.values, given.values)
        assert (one.weights is None) == (given.weights is None)
        if given.weights is not None:
            np.testing.assert_array_equal(one.weights, given.weights)


def test_judged_users_stand_once_for_all_cells(store):
    run_id = new_run(store)
    record(store, run_id, make_cell("a"))
    record(store, run_id, make_cell("b"))
    judged = read_evaluated_users(store, run_id)
    assert list(judged) == ["asked"]
    assert judged["asked"].users.tolist() == [4, 9, 2]
    assert judged["asked"].counts == COUNTS
    assert store.connection.execute("SELECT count(*) FROM evaluations").fetchall() == [(1,)]


def test_cells_stay_in_the_order_they_were_finished(store):
    run_id = new_run(store)
    for key in "zamb":
        record(store, run_id, make_cell(key))
    assert [cell.key for cell in read_cells(store, run_id)] == list("zamb")


def test_a_cell_belongs_to_several_runs(store):
    first = new_run(store)
    record(store, first, make_cell("a"))
    record(store, first, make_cell("b"))
    second = new_run(store)
    link_cell(store, second, "b")
    assert [cell.key for cell in read_cells(store, first)] == ["a", "b"]
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
        insert_cell(store, make_cell(figures=()), make_judged(users=()), [])
        insert_run_cell(store, run_id, "cell")
    assert read_cells(store, run_id)[0].figures == ()
    assert read_evaluated_users(store, run_id)["asked"].users.shape == (0,)
    assert read_user_figures(store, run_id) == {}


def test_a_failed_transaction_leaves_nothing(store):
    run_id = new_run(store)

    def die_within():
        with store.transaction():
            insert_fit(store, Fit("fit", None, {}))
            insert_cell(store, make_cell(), make_judged(), user_figures())
            insert_run_cell(store, run_id, "cell")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_within()
    for table in ("fits", "cells", "figures", "evaluations", "run_cells"):
        assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
