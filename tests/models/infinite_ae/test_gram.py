"""Kernel matrices made tile by tile, against the dense kernel."""

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from scipy.sparse import csr_array

from perennial.models.infinite_ae import gram as gram_module
from perennial.models.infinite_ae.gram import (
    SHORT,
    TILE,
    cross_kernel,
    fill_gram,
    make_tile_kernel,
    normalised_gram,
)
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.row_blocks import popular_items, split_rows
from perennial.models.infinite_ae.stax_kernel import stax_values

SETTINGS = KernelSettings(depth=2)
NUM_ITEMS = 50


def random_rows(num_rows, real=False):
    generator = np.random.default_rng(num_rows)
    dense = (generator.random((num_rows, NUM_ITEMS)) < np.linspace(0.3, 0.01, NUM_ITEMS)).astype(
        np.float32
    )
    dense[min(2, num_rows) :][:1] = 0
    return dense * generator.random(dense.shape).astype(np.float32) if real else dense


def dense_gram(dense):
    with jax.enable_x64(True):
        return np.asarray(kernel_gram(dense.astype(np.float64), SETTINGS))


def tiled_gram(dense, backend, dtype):
    rows = csr_array(dense)
    block = split_rows(rows, popular_items(rows))
    kernel = make_tile_kernel(backend, SETTINGS, NUM_ITEMS, np.dtype(dtype))
    out = np.full((len(dense), len(dense)), np.nan, dtype=dtype)
    fill_gram(block, kernel, out)
    below = np.tril(out, -1)
    diagonal = kernel.diagonal(block)
    assert diagonal.dtype == dtype
    return below + below.T + np.diag(diagonal)


@pytest.mark.parametrize("backend", ["closed-form", "neural-tangents"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("num_rows", [1, 37])
def test_a_small_matrix(backend, dtype, real, num_rows):
    dense = random_rows(num_rows, real)
    tolerance = {np.float32: 5e-4, np.float64: 5e-8}[dtype]
    np.testing.assert_allclose(tiled_gram(dense, backend, dtype), dense_gram(dense), rtol=tolerance)


def test_a_matrix_of_several_tiles():
    dense = random_rows(TILE + 300)
    np.testing.assert_allclose(
        tiled_gram(dense, "closed-form", np.float64), dense_gram(dense), rtol=5e-8
    )


def test_rows_of_other_users_across_tiles():
    dense = random_rows(TILE + 30)
    rows = csr_array(dense)
    block = split_rows(rows, popular_items(rows))
    others = split_rows(csr_array(dense[3:40]), block.head_items)
    kernel = make_tile_kernel("closed-form", SETTINGS, NUM_ITEMS, np.dtype(np.float64))
    cross = cross_kernel(others, list(block.pieces(TILE)), kernel)
    with jax.enable_x64(True):
        wide = dense.astype(np.float64)
        expected = np.asarray(kernel_matrix(wide[3:40], wide, SETTINGS))
    np.testing.assert_allclose(cross, expected, rtol=5e-8)


def test_only_half_of_the_tiles_is_computed(monkeypatch):
    made = []
    original = gram_module.ClosedFormKernel.tile

    def counted(self, left, right):
        made.append((len(left), len(right)))
        return original(self, left, right)

    monkeypatch.setattr(gram_module.ClosedFormKernel, "tile", counted)
    tiled_gram(random_rows(2 * TILE + 1), "closed-form", np.float32)
    assert len(made) == 6


def test_sizes_do_not_compile_the_kernel_again():
    tiled_gram(random_rows(11), "closed-form", np.float32)
    before = gram_module.kernel_values._cache_size()
    for num_rows in (12, 29, 400):
        tiled_gram(random_rows(num_rows), "closed-form", np.float32)
    assert gram_module.kernel_values._cache_size() == before


@pytest.mark.parametrize("backend", ["closed-form", "neural-tangents"])
def test_no_rows(backend):
    kernel = make_tile_kernel(backend, SETTINGS, NUM_ITEMS, np.dtype(np.float32))
    none = split_rows(csr_array((0, NUM_ITEMS), dtype=np.float32), np.arange(0))
    out = np.empty((0, 0), dtype=np.float32)
    fill_gram(none, kernel, out)
    assert kernel.diagonal(none).shape == (0,)
    assert cross_kernel(none, list(none.pieces(TILE)), kernel).shape == (0, 0)


def normalised(dense, dtype, depth=1, backend="closed-form"):
    rows = csr_array(dense)
    kernel = make_tile_kernel(backend, KernelSettings(depth), dense.shape[1], np.dtype(dtype))
    return normalised_gram(split_rows(rows, popular_items(rows)), kernel)


@pytest.mark.parametrize("backend", ["closed-form", "neural-tangents"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-4), (np.float64, 5e-8)])
def test_a_normalised_matrix_is_neural_tangents_own(backend, dtype, tolerance):
    dense = random_rows(30)
    with jax.enable_x64(True):
        theirs = stax_values(dense.astype(np.float64), None, KernelSettings(2))
    lengths = np.sqrt(np.diag(theirs))
    np.testing.assert_allclose(
        normalised(dense, dtype, 2, backend), theirs / lengths[:, None] / lengths, rtol=tolerance
    )


def test_a_normalised_matrix_of_no_rows():
    assert normalised(np.zeros((0, NUM_ITEMS), np.float32), np.float32).shape == (0, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("real", [False, True])
def test_a_few_rows_give_what_they_give_among_many(dtype, real):
    """Short blocks have a compiled shape of their own; no figure may depend on which."""
    dense = random_rows(2 * SHORT + 40, real)
    rows = csr_array(dense)
    head = popular_items(rows)
    kernel = make_tile_kernel("closed-form", SETTINGS, NUM_ITEMS, np.dtype(dtype))
    whole = split_rows(rows, head)
    pieces = list(whole.pieces(TILE))
    together = cross_kernel(whole, pieces, kernel)
    for start, stop in ((0, 1), (3, 3 + SHORT), (SHORT, 2 * SHORT + 1)):
        part = split_rows(rows[start:stop], head)
        np.testing.assert_array_equal(cross_kernel(part, pieces, kernel), together[start:stop])
