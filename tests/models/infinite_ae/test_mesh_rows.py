"""Rows on a mesh, here of one CPU device; `tests/test_two_devices.py` has two."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh
from model_rows import dense_rows, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.infinite_ae import exact_model, mesh_rows
from perennial.models.infinite_ae.gram import TILE, cross_kernel, fill_gram, make_tile_kernel
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.mesh_rows import MeshRows
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.row_blocks import popular_items, split_rows
from perennial.models.mesh import ROWS, SHARED_OUT, batch_sharding, device_mesh
from perennial.models.solver import DeviceSystem

NETWORK = KernelSettings(depth=2)
ONE = Mesh(np.array(jax.devices()[:1]), (ROWS,))


@pytest.fixture
def narrow_blocks(monkeypatch):
    """Several item blocks, where the least width would make one of them."""
    monkeypatch.setattr(mesh_rows, "_BLOCK_CELLS", 1)


def wide_rows(num_rows, num_items=300, seed=0, soft=False):
    return csr_array(dense_rows(num_rows, num_items, seed, soft=soft))


def on_host(rows, dtype):
    """K with its diagonal, K between rows and themselves, and the rows, all by SciPy."""
    block = split_rows(rows, popular_items(rows))
    kernel = make_tile_kernel("closed-form", NETWORK, rows.shape[1], np.dtype(dtype))
    below = np.zeros((len(block), len(block)), dtype)
    fill_gram(block, kernel, below)
    below = np.tril(below, -1)
    return below + below.T + np.diag(kernel.diagonal(block)), block, kernel


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-8)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.usefixtures("narrow_blocks")
def test_the_kernel_is_that_of_the_host(dtype, tolerance, soft):
    rows = wide_rows(40, soft=soft)
    placed = MeshRows.place(rows, ONE, NETWORK, np.dtype(dtype))
    assert placed.entries.rows.shape[0] == 3
    gram, block, kernel = on_host(rows, dtype)
    made = np.asarray(placed.gram())
    assert made.dtype == dtype
    np.testing.assert_allclose(made[:40, :40], gram, rtol=tolerance)
    np.testing.assert_array_equal(made[40:], np.eye(len(made))[40:])
    np.testing.assert_array_equal(made[:, 40:], np.eye(len(made))[:, 40:])
    np.testing.assert_array_equal(placed.diagonal(), kernel.diagonal(block))
    asked = wide_rows(17, seed=1, soft=soft)
    cross = np.asarray(placed.cross(asked))[:17, :40]
    expected = cross_kernel(split_rows(asked, block.head_items), list(block.pieces(TILE)), kernel)
    np.testing.assert_allclose(cross, expected, rtol=tolerance)


@settings(max_examples=20)
@given(
    num_rows=st.integers(0, 30),
    num_items=st.integers(1, 400),
    count=st.sampled_from([0, 1, 16, 20]),
)
def test_scores_are_coefficients_times_rows_in_the_order_of_the_items(num_rows, num_items, count):
    rows = wide_rows(num_rows, num_items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh_rows, "_BLOCK_CELLS", 1)
        placed = MeshRows.place(rows, ONE, NETWORK, np.dtype(np.float32))
    coefficients = np.random.default_rng(1).standard_normal((count, num_rows)).astype(np.float32)
    scores = placed.combine(coefficients)
    assert scores.shape == (count, num_items)
    np.testing.assert_allclose(scores, coefficients @ rows.toarray(), rtol=1e-4, atol=1e-5)


def test_an_entry_that_stands_twice_is_added():
    rows = csr_array((np.array([1.0, 1.0], "f4"), ([0, 0], [2, 2])), shape=(1, 4))
    twice = csr_array((np.array([1.0, 1.0], "f4"), np.array([2, 2]), np.array([0, 2])), rows.shape)
    made = [MeshRows.place(one, ONE, NETWORK, np.dtype(np.float32)) for one in (rows, twice)]
    np.testing.assert_array_equal(made[0].gram(), made[1].gram())
    assert twice.nnz == 2, "the caller's rows stay as they are"


@pytest.mark.parametrize("reg", [None, 5.0])
@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.usefixtures("narrow_blocks")
def test_a_fit_on_a_mesh_is_that_of_the_host(monkeypatch, reg, weigh):
    weights = np.random.default_rng(2).uniform(0.5, 3, 60) if weigh else np.ones(60)
    rows = rows_of(wide_rows(60), weights=weights)
    recipe = InfiniteAE(reg=reg, depth=2)
    contexts = wide_rows(21, seed=3)
    expected = recipe.fit(rows, FitOptions(seed=1))
    monkeypatch.setattr(exact_model, "device_mesh", lambda: ONE)
    model = recipe.fit(rows, FitOptions(seed=1))
    assert model.placed is not None
    assert model.report["reg"] == expected.report["reg"]
    assert model.report.get("validation") == expected.report.get("validation")
    scale = np.abs(scores_of(expected, contexts)).max()
    for block_rows in (7, 1000):
        found = scores_of(model, contexts, block_rows)
        np.testing.assert_allclose(found, scores_of(expected, contexts), atol=2e-4 * scale)
    asked, items = contexts[:1], np.array([3, 0])
    np.testing.assert_allclose(
        model.explain(asked, items).contributions,
        expected.explain(asked, items).contributions,
        atol=2e-4 * scale,
    )
    again = recipe.restore(*model.to_arrays())
    np.testing.assert_array_equal(scores_of(again, contexts), scores_of(model, contexts))


def test_other_kernels_stay_on_the_host(monkeypatch):
    monkeypatch.setattr(exact_model, "device_mesh", lambda: ONE)
    model = InfiniteAE(reg=1.0, backend="neural-tangents").fit(
        rows_of(wide_rows(9)), FitOptions(seed=1)
    )
    assert model.placed is None


def test_a_system_on_a_mesh_solves_for_rows_of_the_host_too():
    rows = wide_rows(30)
    gram, _, _ = on_host(rows, np.float64)
    placed = MeshRows.place(rows, ONE, NETWORK, np.dtype(np.float64))
    weights = np.linspace(1, 2, 30)
    system = DeviceSystem(placed.gram(), placed.diagonal(), weights)
    right = np.random.default_rng(0).standard_normal((4, 30))
    expected = right @ np.linalg.inv(gram + np.diag(system.ridge(2.0) / weights))
    np.testing.assert_allclose(system.factorise(2.0).solve(right), expected, rtol=1e-6)


def test_one_cpu_needs_no_mesh():
    assert device_mesh() is None


def test_a_batch_is_shared_out_where_that_goes_evenly():
    assert batch_sharding(ONE, 7).spec == SHARED_OUT
