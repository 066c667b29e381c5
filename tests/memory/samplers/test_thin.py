"""Parts of rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.samplers.base import thin, thin_to_mean


def test_the_luckiest_of_each_row_stays_and_then_the_luckiest_of_all():
    lucky = csr_array(np.array([[0.9, 0.8, 0.7], [0.2, 0.0, 0.1], [0.0, 0.5, 0.6]]))
    assert thin(lucky, 5).toarray().tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert thin(lucky, 4).toarray().tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert thin(lucky, 0).toarray().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]


@given(st.integers(0, 500), st.integers(0, 8), st.integers(0, 60))
def test_rows_get_shorter_and_none_gets_empty(seed, count, interactions):
    dense = np.random.default_rng(seed).random((count, 7)) < 0.5
    rows = csr_array(dense[dense.any(axis=1)].astype(np.float32))
    part = thin_to_mean(rows, (10, interactions), seed)
    assert part.dtype == np.float32
    assert part.shape == rows.shape
    assert (np.diff(part.indptr) > 0).all()
    assert (part.toarray() <= rows.toarray()).all()
    wanted = round(rows.shape[0] * interactions / 10)
    assert part.nnz == min(rows.nnz, max(rows.shape[0], wanted))


def test_every_interaction_is_as_likely_to_stay():
    rows = csr_array(np.ones((2, 6), dtype=np.float32))
    kept = sum(thin_to_mean(rows, (2, 6), seed).toarray() for seed in range(2000))
    # 1,000 expected each, standard deviation 22.
    assert np.abs(kept - 1000).max() < 110
