"""PopRec: counts by hand, and that they are those of the rows whatever their order."""

from functools import partial

import model_rows
import numpy as np
from model_rows import rows_of_dense

from perennial.models.base import FitOptions
from perennial.models.registry import make_recipe

scores_of = partial(model_rows.scores_of, block_rows=2)
DENSE = np.array([[1, 0, 0.5, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32)


def test_everyone_gets_the_weighted_counts():
    model = make_recipe("pop").fit(rows_of_dense(DENSE, [2, 1, 0.5]), FitOptions(seed=0))
    np.testing.assert_array_equal(scores_of(model, DENSE), np.tile([3, 1.5, 1.5, 0], (3, 1)))
    assert model.report == {"rows_used": 3, "rows_given": 3}
