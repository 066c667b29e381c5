"""The closed form against values worked out elsewhere, and its derivatives against differences."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from jax.test_util import check_grads

from perennial.models.infinite_ae.kernel import KernelSettings, kernel_diagonal, relu_moments
from perennial.models.infinite_ae.stax_kernel import stax_values

DTYPES = [np.float32, np.float64]


def test_the_identity_gives_the_values_of_the_design_notes():
    gram = np.asarray(kernel_gram(np.eye(3, dtype=np.float32), KernelSettings()))
    assert np.diag(gram) == pytest.approx([1.36333] * 3, abs=1e-5)
    assert gram[~np.eye(3, dtype=bool)] == pytest.approx([0.23546] * 6, abs=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("variances", [(2.0, 0.01), (1.3, 0.2), (2.0, 0.0)])
def test_the_diagonal_is_that_of_neural_tangents_at_any_depth(depth, variances):
    rows = (np.random.default_rng(depth).random((6, 9)) < 0.4).astype(np.float64)
    rows[0] = 0
    settings = KernelSettings(depth, *variances)
    with jax.enable_x64(True):
        ours = np.asarray(kernel_diagonal((rows**2).sum(axis=1), 9, settings))
    theirs = np.diag(stax_values(rows, None, settings))
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("dtype", "places"), [(np.float32, 4), (np.float64, 4)])
def test_the_moments_are_those_of_the_angle(dtype, places):
    cosine = np.concatenate([np.linspace(-1, 1, 4001), [0.5, -0.5, 1 - 1e-6]]).astype(dtype)
    with jax.enable_x64(True):
        zeroth, first = (np.asarray(m) for m in relu_moments(jnp.asarray(cosine)))
    angle = np.array([math.acos(c) for c in cosine.astype(np.float64)])
    step = np.finfo(dtype).eps * places
    assert zeroth.dtype == dtype
    assert np.abs(zeroth - (math.pi - angle) / math.pi).max() < step
    exact = (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / math.pi
    assert np.abs(first - exact).max() < step


@pytest.mark.parametrize("depth", [1, 3])
def test_derivatives_agree_with_differences(depth):
    generator = np.random.default_rng(0)
    rows, weights = generator.random((4, 6)), generator.random((4, 4))
    with jax.enable_x64(True):
        weighted = jax.jit(lambda x: (kernel_gram(x, KernelSettings(depth)) * weights).sum())
        check_grads(weighted, (rows,), order=1, modes=["rev"], rtol=1e-6)


def test_second_derivatives_are_finite_where_rows_are_equal():
    rows = np.zeros((4, 3), dtype=np.float32)
    rows[2:, 0] = 1
    hessian = jax.jit(jax.hessian(lambda x: kernel_gram(x, KernelSettings(2)).sum()))(rows)
    assert np.isfinite(hessian).all()
    assert np.abs(hessian).max() > 0


def test_without_bias_empty_rows_have_no_kernel_and_finite_gradients():
    rows = np.zeros((3, 4), dtype=np.float32)
    rows[2, 1] = 1
    settings = KernelSettings(depth=2, bias_variance=0.0)
    gram = np.asarray(kernel_gram(rows, settings))
    assert (gram[:2] == 0).all()
    assert gram[2, 2] > 0
    assert np.isfinite(jax.grad(lambda x: kernel_gram(x, settings).sum())(rows)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_is_that_of_the_rows_and_nothing_is_switched_on_for_good(dtype):
    rows = np.eye(4, dtype=dtype)
    with jax.enable_x64(dtype == np.float64):
        assert kernel_matrix(rows, rows[:2], KernelSettings()).dtype == dtype
    assert stax_values(rows, rows, KernelSettings()).dtype == dtype
    assert not jax.config.jax_enable_x64


def test_stax_loads_without_its_package_and_without_tensorflow():
    program = (
        "import sys; from perennial.models.infinite_ae.stax_kernel import load_stax; load_stax(); "
        "assert not {'tensorflow', 'tf2jax', 'neural_tangents._src.empirical'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: S603
    assert result.returncode == 0, result.stderr
