"""EASE against its objective, solved column by column and by descent, and its promises."""

import json
import tracemalloc
from functools import partial

import model_rows
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import rows_of_dense
from scipy.optimize import minimize

from perennial.models.base import FitOptions, Holdout
from perennial.models.ease import Ease
from perennial.models.holdout import hold_out
from perennial.models.registry import make_recipe
from perennial.storage.errors import UserError

scores_of = partial(model_rows.scores_of, block_rows=4)
dense_rows = partial(model_rows.dense_rows, most=0.7)
FIXED = Ease(regs=(2.0,))


def item_weights(model):
    """B: what a context of one item is scored."""
    return scores_of(model, np.eye(model.num_items))


def by_columns(dense, weights, reg):
    """B column by column: a ridge regression of each item on the others."""
    x = np.sqrt(weights)[:, None] * dense.astype(np.float64)
    num_items = x.shape[1]
    columns = np.zeros((num_items, num_items))
    for item in range(num_items):
        others = np.arange(num_items) != item
        left = np.vstack([x[:, others], np.sqrt(reg) * np.eye(num_items - 1)])
        right = np.concatenate([x[:, item], np.zeros(num_items - 1)])
        columns[others, item] = np.linalg.lstsq(left, right, rcond=None)[0]
    return columns


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reg", [0.1, 2.0, 500.0])
def test_each_column_is_a_ridge_regression_on_the_other_items(reg, soft):
    dense, weights = dense_rows(20, soft=soft), np.random.default_rng(1).uniform(0.2, 3, 20)
    model = Ease(regs=(reg,)).fit(rows_of_dense(dense, weights), FitOptions(seed=0))
    expected = by_columns(dense, weights, reg)
    np.testing.assert_allclose(item_weights(model), expected, atol=1e-6)
    asked = dense_rows(9, seed=2, soft=soft)
    np.testing.assert_allclose(scores_of(model, asked), asked @ expected, atol=1e-5)


@pytest.mark.parametrize("reg", [0.1, 2.0, 500.0])
def test_few_rows_come_to_the_same(reg):
    dense, weights = dense_rows(5, num_items=30, soft=True), np.linspace(0.2, 3, 5)
    few = Ease(regs=(reg,)).fit(rows_of_dense(dense, weights), FitOptions(seed=0))
    np.testing.assert_allclose(item_weights(few), by_columns(dense, weights, reg), atol=1e-5)
    # Rows without an item change nothing but the way to it.
    padded, longer = np.pad(dense, ((0, 40), (0, 0))), np.pad(weights, (0, 40), constant_values=1)
    many = Ease(regs=(reg,)).fit(rows_of_dense(padded, longer), FitOptions(seed=0))
    np.testing.assert_allclose(item_weights(few), item_weights(many), atol=1e-6)


def test_descent_on_the_objective_ends_there():
    dense = dense_rows(12, num_items=5).astype(np.float64)
    off_diagonal = ~np.eye(5, dtype=bool)

    def objective(entries):
        matrix = np.zeros((5, 5))
        matrix[off_diagonal] = entries
        rest = dense @ matrix - dense
        slope = 2 * (dense.T @ rest + 2.0 * matrix)
        return (rest**2).sum() + 2.0 * (matrix**2).sum(), slope[off_diagonal]

    found = minimize(objective, np.zeros(20), jac=True, method="BFGS", options={"gtol": 1e-9})
    model = FIXED.fit(rows_of_dense(dense), FitOptions(seed=0))
    np.testing.assert_allclose(item_weights(model)[off_diagonal], found.x, atol=1e-5)


def test_the_diagonal_is_zero_and_items_that_nobody_has_score_zero():
    model = FIXED.fit(rows_of_dense(dense_rows(20)), FitOptions(seed=0))
    weights = item_weights(model)
    assert (weights.diagonal() == 0).all()
    assert (weights[:, -1] == 0).all()
    assert (weights[-1] == 0).all()


def test_tiles_make_no_difference():
    dense = dense_rows(60, num_items=530, seed=3)
    model = FIXED.fit(rows_of_dense(dense), FitOptions(seed=0))
    gram = dense.T.astype(np.float64) @ dense + 2.0 * np.eye(530)
    inverse = np.linalg.inv(gram)
    expected = -inverse / inverse.diagonal()
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(item_weights(model), expected, atol=1e-6)


def test_what_validation_chose_is_the_model_and_told():
    rows = rows_of_dense(dense_rows(60, num_items=130))
    said = []
    recipe = make_recipe("ease", {"regs": [1, 30, 1000]})
    report = recipe.fit(rows, FitOptions(seed=0, progress=said.append)).report
    assert len(report["trials"]) == len(said) == 3
    assert report["chosen"] == {"reg": report["reg"]} == {"reg": report["trials"][0]["reg"]}
    assert report["validation_HR@100"] == max(one["HR@100"] for one in report["trials"])
    assert report["rows_used"] == report["rows_given"] == 60
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_largest_of_equals_and_the_middle_where_nobody_is_judged():
    rows = rows_of_dense(np.ones((4, 3)))
    recipe = Ease(regs=(1.0, 10.0, 100.0))
    nobody = Holdout(rows, np.zeros(0, np.int64), rows.interactions[:0])
    assert recipe.fit_with_holdout(nobody, rows, FitOptions(seed=0)).report["reg"] == 10.0
    # Fewer than a hundred items: every ranking hits everything.
    held = hold_out(rows_of_dense(dense_rows(20)), seed=0)
    trials = recipe.fit_with_holdout(held, held.training, FitOptions(seed=0)).report["trials"]
    assert [one["reg"] for one in trials] == [10.0, 100.0, 1.0]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    order=st.permutations(range(9)),
    copies=st.lists(st.integers(1, 3), min_size=9, max_size=9),
)
def test_weights_repeat_rows_in_any_order(seed, order, copies):
    dense = dense_rows(9, seed=seed, soft=True)
    weighted = FIXED.fit(rows_of_dense(dense[order], np.array(copies)[order]), FitOptions(seed=0))
    repeated = FIXED.fit(rows_of_dense(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    np.testing.assert_allclose(item_weights(weighted), item_weights(repeated), atol=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), num_items=st.integers(1, 30))
def test_a_restored_model_is_the_same_to_the_bit(seed, num_items):
    dense = dense_rows(7, num_items, seed)
    model = FIXED.fit(rows_of_dense(dense), FitOptions(seed=0))
    arrays, manifest = model.to_arrays()
    assert arrays["upper"].shape == (num_items * (num_items + 1) // 2,)
    restored = Ease().restore(arrays, json.loads(json.dumps(manifest)))
    assert scores_of(restored, dense).tobytes() == scores_of(model, dense).tobytes()
    assert restored.report == model.report


def test_matrices_over_the_memory_limit_are_refused_in_one_line():
    rows = rows_of_dense(dense_rows(5, num_items=2000))
    with pytest.raises(UserError, match=r"2,000 × 2,000 items.*raise --memory-limit") as refused:
        Ease().fit(rows, FitOptions(seed=0, memory_limit=50_000_000))
    assert "\n" not in str(refused.value)


def test_the_estimate_holds_and_is_no_exaggeration():
    held = hold_out(rows_of_dense(dense_rows(100, num_items=800)), seed=0)
    tracemalloc.start()
    model = Ease(regs=(5.0, 50.0)).fit_with_holdout(held, held.training, FitOptions(seed=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.4 * model.report["bytes_estimated"] < peak < model.report["bytes_estimated"]
