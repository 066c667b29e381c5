"""Products of rows split into a dense head and a sparse tail, against dense ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.models.infinite_ae.row_blocks import popular_items, split_rows


def random_rows(seed, num_rows=40, num_items=30, real=False):
    generator = np.random.default_rng(seed)
    dense = (generator.random((num_rows, num_items)) < np.linspace(0.6, 0.01, num_items)).astype(
        np.float32
    )
    dense[0] = 0
    return dense * generator.random(dense.shape).astype(np.float32) if real else dense


@given(seed=st.integers(0, 10**6), heads=st.integers(0, 30), real=st.booleans())
def test_products_do_not_depend_on_what_is_dense(seed, heads, real):
    dense = random_rows(seed, real=real)
    order = np.random.default_rng(seed).permutation(30)[:heads]
    block = split_rows(csr_array(dense), order)
    left = split_rows(csr_array(dense[5:9]), order)
    exact = dense.astype(np.float64) @ dense.astype(np.float64).T
    inner = block.inner(block)
    if real:
        assert inner.dtype == np.float64
        np.testing.assert_allclose(inner, exact, rtol=1e-12)
    else:
        assert inner.dtype == np.float32
        np.testing.assert_array_equal(inner, exact)
        np.testing.assert_array_equal(left.inner(block), exact[5:9])
    np.testing.assert_allclose(block.squares, np.diag(exact), rtol=1e-12)
    coefficients = np.random.default_rng(seed).standard_normal((7, 40))
    np.testing.assert_allclose(block.combine(coefficients), coefficients @ dense, atol=1e-4)


def test_many_score_rows_are_combined_piece_by_piece():
    dense = random_rows(1)
    block = split_rows(csr_array(dense), popular_items(csr_array(dense)))
    coefficients = np.random.default_rng(1).standard_normal((300, 40))
    np.testing.assert_allclose(block.combine(coefficients), coefficients @ dense, atol=1e-4)


def test_popular_items_are_those_in_a_share_of_the_rows_most_popular_first():
    dense = np.zeros((20, 4), dtype=np.float32)
    dense[:3, 1] = dense[:9, 3] = dense[:1, 0] = 1
    assert popular_items(csr_array(dense), share=0.1).tolist() == [3, 1]
    assert popular_items(csr_array(dense), share=0.0).tolist() == [3, 1, 0]
    assert len(popular_items(csr_array((0, 4)))) == 0


def test_entries_that_stand_twice_are_added_and_what_was_given_stays():
    twice = csr_array(
        (np.ones(3, dtype=np.float32), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    assert split_rows(twice, np.array([1])).squares.tolist() == [4.0, 1.0]
    assert twice.nnz == 3
