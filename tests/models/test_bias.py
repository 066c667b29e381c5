"""Bias-only against closed forms and against its objective, written out cell by cell."""

import json
from functools import partial

import model_rows
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import rows_of_dense

from perennial.models.base import FitOptions
from perennial.models.bias import Bias
from perennial.models.registry import make_recipe

scores_of = partial(model_rows.scores_of, block_rows=4)
dense_rows = partial(model_rows.dense_rows, most=0.8)
FIXED = Bias(unobserved=(0.2,), dampings=(3.0,))


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


def test_by_hand_where_all_cells_count_alike():
    # μ = 4/8; b = (N − 4μ)/(4 + 1); c = (n − 2μ)/(2 + 1).
    dense = np.array([[1, 0], [1, 1], [1, 0], [0, 0]])
    model = Bias(unobserved=(1.0,), dampings=(1.0,)).fit(rows_of_dense(dense), FitOptions(seed=0))
    assert model.mean == 0.5
    np.testing.assert_allclose(model.item_bias, [1 / 5, -1 / 5], atol=1e-12)
    asked = scores_of(model, [[0, 0], [0, 1], [1, 1]])
    users = np.array([-1 / 3, 0, 1 / 3])
    np.testing.assert_allclose(asked, 0.5 + users[:, None] + [0.2, -0.2], atol=1e-7)


def test_what_validation_chose_is_the_model_and_told():
    rows = rows_of_dense(dense_rows(60, num_items=130))
    said = []
    recipe = make_recipe("bias", {"unobserved": [1.0, 0.05], "dampings": [2.0, 9.0]})
    model = recipe.fit(rows, FitOptions(seed=0, progress=said.append))
    report = model.report
    assert len(report["trials"]) == len(said) == 4
    assert report["chosen"] == {"unobserved": model.unobserved, "damping": model.damping}
    assert report["validation_HR@100"] == max(one["HR@100"] for one in report["trials"])
    assert report["rows_used"] == report["rows_given"] == 60
    single = Bias(unobserved=(model.unobserved,), dampings=(model.damping,))
    assert np.array_equal(single.fit(rows, FitOptions(seed=5)).item_bias, model.item_bias)
    assert json.loads(json.dumps(recipe.settings))["dampings"] == [2.0, 9.0]


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
    np.testing.assert_allclose(scores_of(weighted, dense), scores_of(repeated, dense), atol=1e-6)
