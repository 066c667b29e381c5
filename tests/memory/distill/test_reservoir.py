"""Summaries that are extended without the log: who is in them, and what their rows are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.distill.reservoir import extend_summary
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import Summary
from perennial.memory.distill.targets import LeaveOneOutTargets
from perennial.models.base import TrainingRows

NUM_ITEMS = 12
OWN = DistillSettings(num_synthetic_users=10, guide=0.0, start_scale=1.0)
MIXED = dataclasses.replace(OWN, guide=0.5)


def real_rows(count, seed=0, num_items=NUM_ITEMS):
    """Random binary rows, none of them empty."""
    generator = np.random.default_rng(seed)
    dense = generator.random((count, num_items)) < 0.4
    dense[np.arange(count), generator.integers(0, num_items, count)] = True
    return TrainingRows(
        csr_array(dense.astype(np.float32)),
        np.ones(count),
        np.zeros(count, np.bool_),
        np.ones(count, np.int32),
    )


def marked_rows(count, item, num_items):
    """`count` equal rows with one item."""
    dense = np.zeros((count, num_items), np.float32)
    dense[:, item] = 1
    return dataclasses.replace(real_rows(count), interactions=csr_array(dense))


def everybody(rows):
    return np.ones(rows.num_rows, np.bool_)


def as_set(rows):
    return {tuple(row) for row in rows.toarray().round(6).tolist()}


def test_few_users_are_all_kept_as_they_are_without_a_guide():
    rows = real_rows(7)
    summary = extend_summary(None, rows, everybody(rows), OWN, 0)
    assert as_set(summary.rows) == as_set(rows.interactions)
    assert summary.report["users_given"] == 7


def test_new_rows_are_mixed_with_the_prediction_without_themselves():
    first, second = real_rows(4, 1), real_rows(6, 2)
    before = extend_summary(None, first, everybody(first), MIXED, 0)
    after = extend_summary(before, second, everybody(second), MIXED, 1)
    stay = as_set(before.rows)
    assert stay < as_set(after.rows)
    joined = np.concatenate([second.interactions.toarray(), before.rows.toarray()])
    seen = TrainingRows(csr_array(joined), np.ones(10), np.arange(10) >= 6, np.ones(10, np.int32))
    wanted = LeaveOneOutTargets(seen, MIXED.guide_reg, 0.5, NUM_ITEMS, 0).dense(np.arange(6))
    got = np.array(list(as_set(after.rows) - stay))
    distances = np.abs(got[:, None] - np.clip(wanted, 0, 1)[None]).max(axis=2)
    assert distances.shape == (6, 6)
    assert (distances.min(axis=0) < 1e-4).all()
    assert (distances.min(axis=1) < 1e-4).all()


def test_users_who_return_change_nothing():
    rows = real_rows(8)
    before = extend_summary(None, rows, everybody(rows), MIXED, 0)
    later = real_rows(5, 3)
    after = extend_summary(before, later, ~everybody(later), MIXED, 1)
    assert as_set(after.rows) == as_set(before.rows)
    assert after.report["users_given"] == 8


def test_all_users_so_far_are_kept_with_equal_probability():
    """Three periods of 40, 20 and 60 users: so many of the rows are expected of each."""
    sizes, found = (40, 20, 60), np.zeros(3)
    for seed in range(200):
        summary = None
        for period, size in enumerate(sizes):
            rows = marked_rows(size, period, 3)
            summary = extend_summary(summary, rows, everybody(rows), OWN, 10 * seed + period)
        assert (summary.num_rows, summary.report["users_given"]) == (10, 120)
        found += summary.rows.toarray().sum(axis=0)
    # The standard error of a share is about 0.01.
    np.testing.assert_allclose(found / found.sum(), np.array(sizes) / 120, atol=0.04)


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 15), min_size=1, max_size=3),
    st.integers(1, 12),
    st.sampled_from([1, 3, None]),
    st.integers(0, 99),
)
def test_a_summary_keeps_its_bounds(sizes, budget, most, seed):
    chosen = dataclasses.replace(MIXED, num_synthetic_users=budget, max_items=most)
    summary = Summary(csr_array((0, NUM_ITEMS), dtype=np.float32), {})
    for period, size in enumerate(sizes):
        rows = real_rows(size, seed + period, NUM_ITEMS + period)
        summary = extend_summary(summary, rows, everybody(rows), chosen, seed + period)
    assert summary.num_rows == min(budget, sum(sizes))
    assert summary.rows.shape[1] == NUM_ITEMS + len(sizes) - 1
    assert summary.rows.has_sorted_indices
    assert summary.rows.dtype == np.float32
    lengths = np.diff(summary.rows.indptr)
    assert (lengths > 0).all()
    assert (lengths <= (most or summary.rows.shape[1])).all()
    assert ((summary.rows.data > 0) & (summary.rows.data <= 1)).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_real_row_is_kept(seed):
    rows = real_rows(30, seed)
    summary = extend_summary(None, rows, everybody(rows), MIXED, seed)
    assert not as_set(summary.rows) & as_set(rows.interactions)


def test_hard_rows_have_ones():
    rows = real_rows(9)
    hard = dataclasses.replace(MIXED, export="hard", max_items=3)
    assert set(extend_summary(None, rows, everybody(rows), hard, 0).rows.data) == {1}
