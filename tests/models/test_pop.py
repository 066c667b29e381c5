"""PopRec: counts by hand, and that they are those of the rows whatever their order."""

from functools import partial

import model_rows
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from model_rows import rows_of_dense

from perennial.models.base import FitOptions
from perennial.models.pop import Pop
from perennial.models.registry import make_recipe

scores_of = partial(model_rows.scores_of, block_rows=2)
DENSE = np.array([[1, 0, 0.5, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32)


def test_everyone_gets_the_weighted_counts():
    model = make_recipe("pop").fit(rows_of_dense(DENSE, [2, 1, 0.5]), FitOptions(seed=0))
    np.testing.assert_array_equal(scores_of(model, DENSE), np.tile([3, 1.5, 1.5, 0], (3, 1)))
    assert model.report == {"rows_used": 3, "rows_given": 3}


def test_a_cap_counts_the_newest_rows():
    rows = rows_of_dense(DENSE, last_period=np.array([1, 2, 2], np.int32))
    model = Pop().fit(rows, FitOptions(seed=0, max_rows=2))
    np.testing.assert_array_equal(model.counts, [1, 2, 1, 0])
    assert model.report == {"rows_used": 2, "rows_given": 3}


@given(order=st.permutations(range(6)), copies=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_weights_repeat_rows_in_any_order(order, copies):
    dense = (np.random.default_rng(1).random((6, 5)) < 0.5).astype(np.float32)
    weighted = Pop().fit(rows_of_dense(dense[order], np.array(copies)[order]), FitOptions(seed=0))
    repeated = Pop().fit(rows_of_dense(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
