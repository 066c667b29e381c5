"""Bias-only against closed forms and against its objective, written out cell by cell."""

from functools import partial

import model_rows
import numpy as np
import pytest
from model_rows import rows_of_dense

from perennial.models.base import FitOptions
from perennial.models.bias import Bias

scores_of = partial(model_rows.scores_of, block_rows=4)
dense_rows = partial(model_rows.dense_rows, most=0.8)


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
