"""PopRec: counts by hand, and that they are those of the rows whatever their order."""

from functools import partial

import model_rows
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import rows_of_dense
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.holdout import hold_out
from perennial.models.pop import Pop
from perennial.models.registry import make_recipe
from perennial.storage.errors import UserError

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


def test_a_given_hold_out_changes_nothing():
    rows = rows_of_dense(DENSE)
    model = Pop().fit_judged(hold_out(rows, seed=0), rows, FitOptions(seed=0))
    np.testing.assert_array_equal(model.counts, DENSE.sum(axis=0))


@given(order=st.permutations(range(6)), copies=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_weights_repeat_rows_in_any_order(order, copies):
    dense = (np.random.default_rng(1).random((6, 5)) < 0.5).astype(np.float32)
    weighted = Pop().fit(rows_of_dense(dense[order], np.array(copies)[order]), FitOptions(seed=0))
    repeated = Pop().fit(rows_of_dense(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    np.testing.assert_array_equal(weighted.counts, repeated.counts)


def test_a_restored_model_is_the_same_and_damage_is_told():
    model = Pop().fit(rows_of_dense(DENSE), FitOptions(seed=0))
    arrays, manifest = model.to_arrays()
    restored = Pop().restore(arrays, manifest)
    assert scores_of(restored, DENSE).tobytes() == scores_of(model, DENSE).tobytes()
    assert restored.report == model.report
    for broken in ({}, {"counts": np.full(3, np.nan)}, {"counts": np.ones((2, 2))}):
        with pytest.raises(UserError, match="damaged"):
            Pop().restore(broken, manifest)


def test_contexts_of_another_width_are_refused():
    model = Pop().fit(rows_of_dense(DENSE), FitOptions(seed=0))
    with pytest.raises(ValueError, match="3 items, model of 4"):
        next(model.score_blocks(csr_array((1, 3), dtype=np.float32), 1))
