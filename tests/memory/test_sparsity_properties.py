"""Sparse rows in the store, for any distilled ones."""

import dataclasses
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_rows import rows_of_dense
from scipy.sparse import csr_array

from perennial.memory.distill.loop import (
    distill,
    distill_with_holdout,
    order_by_usefulness,
    sparse_rows,
)
from perennial.memory.distill.settings import DistillSettings
from perennial.models.base import Holdout
from perennial.storage.results.summaries import (
    StoredSummary,
    SummaryRecord,
    find_summary,
    insert_summary,
)
from perennial.storage.store import Store

FAST = DistillSettings(num_steps=2, validate_every=1, regs=(1.0,), batch_size=8)

# Few shapes, since each compiles anew.
NUM_USERS = st.sampled_from([1, 12])
NUM_ITEMS = st.sampled_from([1, 3, 20])


@st.composite
def logs(draw):
    """Binary rows: any share filled, rows of one item, empty rows, an empty period."""
    generator = np.random.default_rng(draw(st.integers(0, 100)))
    shape = (draw(NUM_USERS), draw(NUM_ITEMS))
    filled = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    dense = (generator.random(shape) < filled).astype(np.float32)
    if draw(st.booleans()):
        dense[:] = 0
        dense[np.arange(shape[0]), generator.integers(0, shape[1], shape[0])] = 1
    return rows_of_dense(dense)


@st.composite
def choices(draw):
    """Both methods and exports, k below and above |I|, μ below and above the users."""
    method = draw(st.sampled_from(["sparse", "paper"]))
    changes = {
        "num_synthetic_users": draw(st.sampled_from([1, 30])),
        "max_items": draw(st.sampled_from([1, 4, 50])),
        "export": draw(st.sampled_from(["soft", "hard"])),
    }
    if method == "paper":
        fast = {"num_steps": 2, "validate_every": 1, "regs": (1.0,), "batch_size": 8}
        return DistillSettings.paper(num_samples=4, temperature=1.0, **fast, **changes)
    return dataclasses.replace(FAST, **changes)


def read_back(rows, chosen, seed=0):
    summary = distill(rows, chosen, seed)
    record = SummaryRecord(
        "key", 1, 1, seed, {}, {}, {}, *summary.rows.shape, summary.rows.nnz, datetime(2026, 1, 1)
    )
    with Store.open(":memory:") as store:
        insert_summary(store, StoredSummary(record, summary.rows))
        found = find_summary(store, "key")
    assert found is not None
    return found


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), choices())
@pytest.mark.slow
def test_what_is_read_back_is_sparse(rows, chosen):
    found = read_back(rows, chosen)
    lengths = np.diff(found.rows.indptr)
    users = int((np.diff(rows.interactions.indptr) > 0).sum())
    assert found.rows.shape[0] <= min(chosen.num_synthetic_users, users)
    assert found.rows.shape[1] == rows.num_items
    assert (lengths >= 1).all()
    assert (lengths <= min(chosen.max_items, rows.num_items)).all()
    assert found.record.density <= min(1.0, chosen.max_items / rows.num_items)
    assert ((found.rows.data > 0) & (found.rows.data <= 1)).all()
    if chosen.export == "hard":
        assert (found.rows.data == 1).all()


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), choices(), st.integers(0, 5))
@pytest.mark.slow
def test_the_same_seed_reads_back_the_same(rows, chosen, seed):
    one, other = read_back(rows, chosen, seed), read_back(rows, chosen, seed)
    np.testing.assert_array_equal(one.rows.toarray(), other.rows.toarray())


@pytest.mark.slow
def test_density_falls_with_the_penalty():
    generator = np.random.default_rng(0)
    dense = (generator.random((40, 20)) < 0.4).astype(np.float32)
    rows = rows_of_dense(dense)
    # Nobody is judged, so the last support is kept and not one from before the penalty acted.
    unjudged = Holdout(rows, np.zeros(0, np.int64), csr_array((0, 20), dtype=np.float32))
    densities = []
    for weight in (0.0, 1.0, 100.0):
        chosen = dataclasses.replace(
            FAST,
            num_steps=30,
            learning_rate=0.05,
            max_items=None,
            sparsity_weight=weight,
            num_synthetic_users=8,
        )
        densities.append(distill_with_holdout(unjudged, chosen, 0).density)
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] < densities[0]


@given(st.integers(0, 200), st.integers(1, 12), st.integers(1, 9))
def test_export_keeps_every_row_that_is_not_empty(seed, num_rows, num_items):
    generator = np.random.default_rng(seed)
    support = generator.random((num_rows, num_items)).astype(np.float32)
    support[generator.random(support.shape) < 0.6] = 0
    padded = np.pad(support, ((0, 0), (0, 3)))
    items = np.sort(generator.choice(30, num_items, replace=False)).astype(np.int64)
    rows = sparse_rows(padded, items, 30)
    filled = support[support.sum(axis=1) > 0]
    assert rows.shape == (len(filled), 30)
    expected = np.zeros((len(filled), 30), np.float32)
    expected[:, items] = filled
    np.testing.assert_array_equal(sorted(rows.toarray().tolist()), sorted(expected.tolist()))


@given(st.integers(0, 100), st.integers(0, 10))
def test_the_order_is_a_permutation(seed, num_rows):
    dense = np.random.default_rng(seed).random((num_rows, 6)).astype(np.float32)
    assert sorted(order_by_usefulness(csr_array(dense))) == list(range(num_rows))


def test_a_copy_of_a_row_comes_last():
    dense = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]], np.float32)
    assert order_by_usefulness(csr_array(dense))[-1] in (0, 1)
