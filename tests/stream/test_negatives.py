import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.stream.negatives import draw_negatives, mark_members


@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(0, 10),
    num_items=st.integers(0, 200),
    num_negatives=st.integers(1, 20),
    density=st.sampled_from([0.0, 0.3, 0.74, 0.97]),
)
def test_draws_distinct_items_outside_the_rows(seed, num_rows, num_items, num_negatives, density):
    generator = np.random.default_rng(seed)
    forbidden = generator.random((num_rows, num_items)) < density
    matrix = csr_array(forbidden.astype(np.float32))
    drawn = draw_negatives(matrix, num_negatives, seed)
    assert (drawn.shape, drawn.dtype) == ((num_rows, num_negatives), np.int32)
    for row in range(num_rows):
        items = drawn[row][drawn[row] >= 0]
        allowed = set(np.flatnonzero(~forbidden[row]).tolist())
        assert len(set(items.tolist())) == len(items) == min(num_negatives, len(allowed))
        assert set(items.tolist()) <= allowed
        assert (drawn[row][len(items) :] == -1).all()
    np.testing.assert_array_equal(drawn, draw_negatives(matrix, num_negatives, seed))


@pytest.mark.parametrize("num_items", [12, 200])
def test_every_allowed_item_is_as_likely(num_items):
    # With 12 items little is left to draw from, with 200 draws are rejected; half are forbidden.
    num_rows, num_negatives = 4000, 5
    forbidden = np.zeros((num_rows, num_items), np.float32)
    forbidden[:, ::2] = 1.0
    drawn = draw_negatives(csr_array(forbidden), num_negatives, seed=3)
    share = num_negatives / (num_items // 2)
    counts = np.bincount(drawn.ravel(), minlength=num_items)[1::2]
    standard_error = math.sqrt(num_rows * share * (1 - share))
    assert np.abs(counts - num_rows * share).max() < 4.5 * standard_error


def test_seeds_differ():
    matrix = csr_array((3, 500), dtype=np.float32)
    one, other = draw_negatives(matrix, 20, seed=1), draw_negatives(matrix, 20, seed=2)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(0, 6)),
)
def test_agrees_with_looking_into_the_dense_matrix(seed, shape):
    num_rows, width, num_asked = shape
    generator = np.random.default_rng(seed)
    dense = generator.random((num_rows, width)) < 0.4
    items = generator.integers(-1, width + 3, (num_rows, num_asked)).astype(np.int32)
    marks = mark_members(csr_array(dense.astype(np.float32)), items)
    wide = np.pad(dense, ((0, 0), (0, 4)))  # index −1 is a column of the padding too
    np.testing.assert_array_equal(marks, np.take_along_axis(wide, items, axis=1))
