"""Rows to the device and back."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.distill_memory import ResidentRows


def some_rows(seed, count, num_items, filled):
    generator = np.random.default_rng(seed)
    dense = generator.random((count, num_items)) * (generator.random((count, num_items)) < filled)
    return csr_array(dense.astype(np.float32))


@given(
    st.integers(0, 100), st.integers(0, 6), st.integers(1, 150), st.sampled_from([0.0, 0.2, 1.0])
)
def test_they_come_back_as_they_went(seed, count, num_items, filled):
    rows = some_rows(seed, count, num_items, filled)
    placed = ResidentRows.place(rows)
    assert placed.num_rows == count
    assert placed.items.shape[1] % 64 == 0
    for first in range(count + 1):
        back = placed.fetch(first, num_items + 3)
        assert back.shape == (first, num_items + 3)
        assert back.has_sorted_indices
        np.testing.assert_array_equal(back.toarray()[:, :num_items], rows[:first].toarray())


def test_they_lie_on_the_default_device():
    placed = ResidentRows.place(some_rows(0, 4, 20, 0.5))
    assert placed.items.devices() == placed.weights.devices() == {jax.devices()[0]}
    assert placed.nbytes == 4 * 64 * (4 + 4)


def test_a_catalogue_never_shrinks():
    placed = ResidentRows.place(some_rows(0, 4, 20, 1.0))
    with pytest.raises(ValueError, match="narrowed"):
        placed.fetch(4, 19)
