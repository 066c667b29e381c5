"""One matrix and many λ, against numpy's inverse; on the CPU's LAPACK and on JAX's device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.models import solver
from perennial.models.solver import DeviceSystem, LapackSystem, inverse_rows_bytes, make_system
from perennial.storage.errors import UserError

SYSTEMS = [LapackSystem, DeviceSystem]


def problem(num_rows, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    factor = generator.standard_normal((num_rows, num_rows + 2))
    kernel = factor @ factor.T / max(1, num_rows)
    weights = generator.uniform(0.5, 3.0, num_rows)
    buffer = np.tril(kernel, -1).astype(dtype)
    buffer[np.triu_indices(num_rows)] = np.nan
    return kernel, weights, buffer, np.diag(kernel).astype(dtype)


def exact_inverse(kernel, weights, reg):
    ridge = reg * np.average(np.diag(kernel), weights=weights)
    return np.linalg.inv(kernel + np.diag(ridge / weights))


@pytest.mark.parametrize("system", SYSTEMS)
@settings(max_examples=30)
@given(num_rows=st.sampled_from([1, 5, 12]), seed=st.integers(0, 1000), data=st.data())
def test_a_sweep_reads_rows_of_the_inverse_for_one_regulariser_after_another(
    system, num_rows, seed, data
):
    kernel, weights, buffer, diagonal = problem(num_rows, seed)
    solved = system(buffer, diagonal, weights)
    for reg in (0.5, 20.0, 1.0):
        first = data.draw(st.integers(0, num_rows))
        blocks = list(solved.inverse_rows(reg, first, block_rows=5))
        assert all(len(block) <= 5 for block in blocks)
        rows = np.concatenate([np.zeros((0, num_rows)), *blocks])
        expected = exact_inverse(kernel, weights, reg)[first:]
        np.testing.assert_allclose(rows, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solving_from_the_right(system, dtype):
    num_rows = 1100
    kernel, weights, buffer, diagonal = problem(num_rows, dtype=dtype)
    factor = system(buffer, diagonal, weights).factorise(2.0)
    right = np.random.default_rng(1).standard_normal((9, num_rows)).astype(dtype)
    expected = right @ exact_inverse(kernel, weights, 2.0)
    solution = factor.solve(right.copy())
    assert solution.dtype == dtype
    tolerance = {np.float32: 1e-4, np.float64: 1e-11}[dtype]
    assert np.abs(solution - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_many_rows_of_the_inverse(system, share):
    num_rows = 1100
    kernel, weights, buffer, diagonal = problem(num_rows)
    first = int(num_rows * (1 - share))
    rows = np.concatenate(list(system(buffer, diagonal, weights).inverse_rows(1.0, first, 256)))
    np.testing.assert_allclose(rows, exact_inverse(kernel, weights, 1.0)[first:], atol=1e-11)


def test_the_factor_lies_in_the_buffer_and_the_matrix_below_it_survives():
    _, weights, buffer, diagonal = problem(700)
    below = np.tril(buffer, -1)
    factor = LapackSystem(buffer, diagonal, weights).factorise(1.0)
    assert np.shares_memory(factor.triangle, buffer)
    np.testing.assert_array_equal(np.tril(buffer, -1), below)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_ridge_scales_with_the_mean_diagonal(system):
    kernel, _, buffer, diagonal = problem(6)
    even = system(buffer.copy(), diagonal, np.ones(6))
    assert even.ridge(5.0) == pytest.approx(5 * np.trace(kernel) / 6)
    heavy = system(buffer.copy(), diagonal, np.array([1.0, 1, 1, 1, 1, 5]))
    assert heavy.ridge(5.0) == pytest.approx(5 * (np.trace(kernel) + 4 * kernel[5, 5]) / 10)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_singular_matrix_is_refused_in_one_line(system):
    buffer = np.ones((5, 5))
    with pytest.raises(UserError, match="λ = 0 is singular in float64; take a larger λ"):
        system(buffer, np.ones(5), np.ones(5)).factorise(0.0)


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_rows(system):
    solved = system(np.zeros((0, 0)), np.zeros(0), np.zeros(0))
    assert solved.ridge(1.0) == 0.0
    assert solved.factorise(1.0).solve(np.zeros((3, 0))).shape == (3, 0)
    assert list(solved.inverse_rows(1.0, 0, 4)) == []


def test_the_system_is_lapacks_on_a_cpu_and_the_devices_elsewhere(monkeypatch):
    _, weights, buffer, diagonal = problem(4)
    assert isinstance(make_system(buffer.copy(), diagonal, weights), LapackSystem)
    monkeypatch.setattr(solver.jax, "default_backend", lambda: "gpu")
    assert isinstance(make_system(np.tril(buffer, -1), diagonal, weights), DeviceSystem)


def test_the_whole_inverse_takes_no_corner():
    assert (inverse_rows_bytes(100, 100, 8), inverse_rows_bytes(100, 10, 8)) == (0, 1600)
