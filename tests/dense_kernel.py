"""Θ of dense rows from the functions that the product evaluates on sparse ones; differentiable."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from perennial.models.infinite_ae.kernel import KernelSettings, kernel_diagonal, kernel_values


def kernel_matrix(left: ArrayLike, right: ArrayLike, settings: KernelSettings) -> Array:
    """`(l, d)` and `(r, d)` rows ↦ `(l, r)`."""
    left, right = jnp.asarray(left), jnp.asarray(right)
    squares = (left**2).sum(axis=1), (right**2).sum(axis=1)
    return kernel_values(left @ right.T, *squares, left.shape[1], settings)


def kernel_gram(rows: ArrayLike, settings: KernelSettings) -> Array:
    """`(n, d)` rows ↦ `(n, n)`, with the exact diagonal; symmetric."""
    rows = jnp.asarray(rows)
    squares = (rows**2).sum(axis=1)
    theta = kernel_values(rows @ rows.T, squares, squares, rows.shape[1], settings)
    diagonal = kernel_diagonal(squares, rows.shape[1], settings)
    same = jnp.eye(rows.shape[0], dtype=bool)
    return jnp.where(same, diagonal[:, None], (theta + theta.T) / 2)
