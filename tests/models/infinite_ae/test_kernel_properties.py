"""Properties of the kernel matrices over generated rows, and agreement with neural-tangents."""

from functools import partial

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from perennial.models.infinite_ae.gram import (
    cross_kernel,
    gram_below,
    make_tile_kernel,
    normalised_gram,
)
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.row_blocks import popular_items, split_rows
from perennial.models.infinite_ae.stax_kernel import stax_values

NUM_ROWS, NUM_ITEMS = 10, 12
DEPTHS = [1, 2, 3]
DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 5e-4, np.float64: 5e-8}
"""Relative, for two correct implementations wherever rows may coincide."""
TOLERANCE_APART = {np.float32: 1e-5, np.float64: 1e-10}
"""Relative, where every layer's cosine is at most 0.99."""

binary = arrays(np.float64, (NUM_ROWS, NUM_ITEMS), elements=st.sampled_from([0.0, 1.0]))
real = arrays(
    np.float64, (NUM_ROWS, NUM_ITEMS), elements=st.floats(0, 1, width=32, allow_subnormal=False)
)


@st.composite
def generated_rows(draw):
    rows = draw(st.one_of(binary, real)).copy()
    rows[0] = 0
    rows[1:3] = 0
    rows[1:3, draw(st.integers(0, NUM_ITEMS - 1))] = 1
    rows[4] = rows[3]
    return rows


PATTERN = np.cos(np.arange(NUM_ROWS**2, dtype=np.float32)).reshape(NUM_ROWS, NUM_ROWS)
"""Weights that make one number of a kernel matrix."""


@partial(jax.jit, static_argnames="network")
def weighted_gram(rows, network):
    return jax.value_and_grad(lambda x: (kernel_gram(x, network) * PATTERN.astype(x.dtype)).sum())(
        rows
    )


@partial(jax.jit, static_argnames="network")
def weighted_matrix(left, right, network):
    return jax.value_and_grad(
        lambda x: (kernel_matrix(x, right, network) * PATTERN.astype(x.dtype)).sum()
    )(left)


def split(rows, *parts):
    """Parts of rows as the product computes with them: popular items dense, the others sparse."""
    matrix = csr_array(rows.astype(np.float32))
    return [split_rows(matrix[part], popular_items(matrix)) for part in parts or [slice(None)]]


def kernel_of(depth, dtype):
    return make_tile_kernel("closed-form", KernelSettings(depth), NUM_ITEMS, np.dtype(dtype))


def gram(rows, depth, dtype):
    """The matrix that the exact solver factorises: one triangle and the exact diagonal."""
    (block,), kernel = split(rows), kernel_of(depth, dtype)
    below = np.tril(gram_below(block, kernel), -1)
    assert below.dtype == dtype
    return below + below.T + np.diag(kernel.diagonal(block))


def largest_cosines(rows, depth):
    """The largest cosine over the layers of each pair, straight from the definition in float64."""
    sigma = 2 * rows @ rows.T / rows.shape[1] + 0.01
    largest = np.zeros_like(sigma)
    for _ in range(depth):
        norm = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
        cosine = np.clip(sigma / norm, -1, 1)
        largest = np.maximum(largest, cosine)
        angle = np.arccos(cosine)
        np.fill_diagonal(angle, 0.0)
        sigma = norm / np.pi * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) + 0.01
    return largest


def every_kernel(**drawn):
    """Examples of rows, and of what is drawn besides, at each depth and dtype."""
    examples = settings(max_examples=25)
    dtypes, depths = (pytest.mark.parametrize(*of) for of in (("dtype", DTYPES), ("depth", DEPTHS)))
    return lambda test: dtypes(depths(examples(given(rows=generated_rows(), **drawn)(test))))


@every_kernel()
def test_it_agrees_with_neural_tangents(depth, dtype, rows):
    ours = gram(rows, depth, dtype)
    theirs = stax_values(rows.astype(dtype), rows.astype(dtype), KernelSettings(depth))
    difference = np.abs(ours / theirs - 1)
    apart = largest_cosines(rows, depth) <= 0.99
    assert difference.max() <= TOLERANCE[dtype]
    assert difference[apart].max(initial=0) <= TOLERANCE_APART[dtype]


@every_kernel()
def test_two_sets_of_rows_agree_with_neural_tangents(depth, dtype, rows):
    left, right = rows[:4].astype(dtype), rows[4:].astype(dtype)
    first, second = split(rows, slice(4), slice(4, None))
    ours = cross_kernel(first, [second], kernel_of(depth, dtype))
    theirs = stax_values(left, right, KernelSettings(depth))
    difference = np.abs(ours / theirs - 1)
    apart = largest_cosines(rows, depth)[:4, 4:] <= 0.99
    assert difference.max() <= TOLERANCE[dtype]
    assert difference[apart].max(initial=0) <= TOLERANCE_APART[dtype]


@every_kernel()
def test_it_is_symmetric_and_positive_semidefinite(depth, dtype, rows):
    (block,), kernel = split(rows), kernel_of(depth, dtype)
    theta = kernel.tile(block, block)
    np.testing.assert_allclose(theta, theta.T, rtol=TOLERANCE[dtype])
    normalised = normalised_gram(block, kernel)
    assert (normalised == normalised.T).all()
    assert (np.diag(normalised) == 1).all()
    for matrix in (gram(rows, depth, dtype), normalised):
        eigenvalues = np.linalg.eigvalsh(matrix.astype(np.float64))
        assert eigenvalues[0] >= -{np.float32: 1e-4, np.float64: 1e-8}[dtype] * eigenvalues[-1]


@every_kernel(order=st.permutations(range(NUM_ROWS)))
def test_permuted_rows_permute_it(depth, dtype, rows, order):
    permuted = gram(rows[order], depth, dtype)
    np.testing.assert_allclose(
        permuted, gram(rows, depth, dtype)[np.ix_(order, order)], rtol=TOLERANCE[dtype]
    )


@every_kernel(order=st.permutations(range(NUM_ITEMS)))
def test_the_order_of_the_items_does_not_matter(depth, dtype, rows, order):
    np.testing.assert_allclose(
        gram(rows[:, order], depth, dtype), gram(rows, depth, dtype), rtol=TOLERANCE[dtype]
    )


@every_kernel()
def test_values_and_gradients_are_finite_where_rows_are_empty_or_equal(depth, dtype, rows):
    network = KernelSettings(depth)
    rows = rows.astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        for value, gradient in (weighted_gram(rows, network), weighted_matrix(rows, rows, network)):
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()
    theta = gram(rows, depth, dtype)
    assert np.isfinite(theta).all()
    assert (np.diag(theta) > 0).all()


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_item_gained_by_one_of_two_equal_rows_has_the_gradient_of_the_smooth_part(depth):
    """At equal rows Θ has a kink, whose two slopes average to what is reported."""
    rows = np.zeros((2, NUM_ITEMS))
    rows[:, :3] = 1
    network = KernelSettings(depth)
    with jax.enable_x64(True):
        pair = lambda x: kernel_matrix(x[None], rows[1:], network)[0, 0]  # noqa: E731
        gradient = np.asarray(jax.grad(pair)(rows[0]))
        step = np.zeros(NUM_ITEMS)
        step[5] = 1e-6
        slope = (pair(rows[0] + step) - pair(rows[0] - step)) / 2e-6
    assert gradient[5] == pytest.approx(float(slope), abs=1e-3)
