"""PopRec: counts by hand, and that they are those of the rows whatever their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from models.pop import Pop
from models.protocol import FitOptions, TrainingRows
from models.registry import make_recipe
from models.validation import hold_out
from storage.errors import UserError

DENSE = np.array([[1, 0, 0.5, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32)


def training_rows(dense, weights=None, last_period=None):
    num_rows = len(dense)
    return TrainingRows(
        interactions=csr_array(np.asarray(dense, dtype=np.float32)),
        weights=np.ones(num_rows) if weights is None else np.asarray(weights, dtype=np.float64),
        replayed=np.zeros(num_rows, dtype=bool),
        last_period=np.ones(num_rows, np.int32) if last_period is None else last_period,
    )


def scores_of(model, contexts, block_rows=2):
    blocks = list(model.score_blocks(csr_array(contexts), block_rows))
    assert all(len(block) <= block_rows and block.dtype == np.float32 for block in blocks)
    return np.concatenate(blocks)


def test_everyone_gets_the_weighted_counts():
    model = make_recipe("pop").fit(training_rows(DENSE, [2, 1, 0.5]), FitOptions(seed=0))
    np.testing.assert_array_equal(scores_of(model, DENSE), np.tile([3, 1.5, 1.5, 0], (3, 1)))
    assert model.report == {"rows_used": 3, "rows_given": 3}


def test_a_cap_counts_the_newest_rows():
    rows = training_rows(DENSE, last_period=np.array([1, 2, 2], np.int32))
    model = Pop().fit(rows, FitOptions(seed=0, max_rows=2))
    np.testing.assert_array_equal(model.counts, [1, 2, 1, 0])
    assert model.report == {"rows_used": 2, "rows_given": 3}


def test_a_given_hold_out_changes_nothing():
    rows = training_rows(DENSE)
    model = Pop().fit_judged(hold_out(rows, seed=0), rows, FitOptions(seed=0))
    np.testing.assert_array_equal(model.counts, DENSE.sum(axis=0))


@given(order=st.permutations(range(6)), copies=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_weights_repeat_rows_in_any_order(order, copies):
    dense = (np.random.default_rng(1).random((6, 5)) < 0.5).astype(np.float32)
    weighted = Pop().fit(training_rows(dense[order], np.array(copies)[order]), FitOptions(seed=0))
    repeated = Pop().fit(training_rows(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    np.testing.assert_array_equal(weighted.counts, repeated.counts)


def test_a_restored_model_is_the_same_and_damage_is_told():
    model = Pop().fit(training_rows(DENSE), FitOptions(seed=0))
    arrays, manifest = model.to_arrays()
    restored = Pop().restore(arrays, manifest)
    assert scores_of(restored, DENSE).tobytes() == scores_of(model, DENSE).tobytes()
    assert restored.report == model.report
    for broken in ({}, {"counts": np.full(3, np.nan)}, {"counts": np.ones((2, 2))}):
        with pytest.raises(UserError, match="damaged"):
            Pop().restore(broken, manifest)


def test_contexts_of_another_width_are_refused():
    model = Pop().fit(training_rows(DENSE), FitOptions(seed=0))
    with pytest.raises(ValueError, match="3 items, model of 4"):
        next(model.score_blocks(csr_array((1, 3), dtype=np.float32), 1))
