import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.stream.negatives import mark_members


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
    expected = [
        [0 <= item < width and bool(dense[row, item]) for item in items[row]]
        for row in range(num_rows)
    ]
    assert marks.tolist() == expected
