"""EASE, bias and popularity against least squares, counts by hand, and their promises."""

import tracemalloc
from functools import partial

import model_rows
import numpy as np
import pytest
from model_rows import rows_of_dense

from perennial.models.base import FitOptions, Holdout
from perennial.models.bias import Bias
from perennial.models.ease import Ease
from perennial.models.holdout import hold_out
from perennial.models.registry import make_recipe

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
    expected, found = by_columns(dense, weights, reg), item_weights(model)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found.diagonal() == 0).all()
    assert not found[-1].any(), "an item that nobody has"
    assert not found[:, -1].any()
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


def test_tiles_make_no_difference():
    dense = dense_rows(60, num_items=530, seed=3)
    model = FIXED.fit(rows_of_dense(dense), FitOptions(seed=0))
    gram = dense.T.astype(np.float64) @ dense + 2.0 * np.eye(530)
    inverse = np.linalg.inv(gram)
    expected = -inverse / inverse.diagonal()
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(item_weights(model), expected, atol=1e-6)


def test_the_largest_of_equals_and_the_middle_where_nobody_is_judged():
    rows = rows_of_dense(np.ones((4, 3)))
    recipe = Ease(regs=(1.0, 10.0, 100.0))
    nobody = Holdout(rows, np.zeros(0, np.int64), rows.interactions[:0])
    assert recipe.fit_with_holdout(nobody, rows, FitOptions(seed=0)).report["reg"] == 10.0
    # Fewer than a hundred items: every ranking hits everything.
    held = hold_out(rows_of_dense(dense_rows(20)), seed=0)
    trials = recipe.fit_with_holdout(held, held.training, FitOptions(seed=0)).report["trials"]
    assert [one["reg"] for one in trials] == [10.0, 100.0, 1.0]


def test_the_estimate_holds_and_is_no_exaggeration():
    held = hold_out(rows_of_dense(dense_rows(100, num_items=800)), seed=0)
    tracemalloc.start()
    model = Ease(regs=(5.0, 50.0)).fit_with_holdout(held, held.training, FitOptions(seed=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.4 * model.report["bytes_estimated"] < peak < model.report["bytes_estimated"]


def by_least_squares(dense, weights, unobserved, damping):
    """ŷ for all cells: the objective of the module as one least-squares problem."""
    x = np.asarray(dense, dtype=np.float64)
    num_rows, num_items = x.shape
    weights = np.ones(num_rows) if weights is None else np.asarray(weights, dtype=np.float64)
    rated = weights[:, None] * x
    filled = weights[:, None] * (x + unobserved * (1 - x))
    mean = rated.sum() / filled.sum()
    rows, items = np.divmod(np.arange(x.size), num_items)
    design = np.zeros((x.size, num_items + num_rows))
    design[np.arange(x.size), items] = 1
    design[np.arange(x.size), num_items + rows] = 1
    ones, zeros = np.sqrt(rated.ravel()), np.sqrt((filled - rated).ravel())
    ridge = np.sqrt(damping * np.concatenate([np.ones(num_items), weights]))
    left = np.vstack([design * ones[:, None], design * zeros[:, None], np.diag(ridge)])
    right = np.concatenate([ones * (1 - mean), -zeros * mean, np.zeros(len(ridge))])
    bias = np.linalg.lstsq(left, right, rcond=None)[0]
    return mean + bias[None, :num_items] + bias[num_items:, None]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("unobserved", [1.0, 0.2, 0.01])
def test_scores_of_the_training_rows_minimise_the_objective(unobserved, soft):
    dense, weights = dense_rows(15, soft=soft), np.random.default_rng(1).uniform(0.2, 3, 15)
    recipe = Bias(unobserved=(unobserved,), dampings=(3.0,))
    model = recipe.fit(rows_of_dense(dense, weights), FitOptions(seed=0))
    expected = by_least_squares(dense, weights, unobserved, 3.0)
    np.testing.assert_allclose(scores_of(model, dense), expected, atol=1e-6)


DENSE = np.array([[1, 0, 0.5, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32)


def test_everyone_gets_the_weighted_counts():
    model = make_recipe("pop").fit(rows_of_dense(DENSE, [2, 1, 0.5]), FitOptions(seed=0))
    np.testing.assert_array_equal(scores_of(model, DENSE), np.tile([3, 1.5, 1.5, 0], (3, 1)))
    assert model.report == {"rows_used": 3, "rows_given": 3}
