"""Products and solutions of many small matrices at once, in tiles that one core computes alone.

Above 64³ multiplications OpenBLAS shares even a single small product among its threads. On a busy
machine they wait for each other longer than they compute: a system of 128 equations then took 100
to 3,000 times as long (measured). In tiles no call is larger than that, at no loss on an idle one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.floating[Any]]
"""Matrices along the first axis."""

TILE = 64

_PARTS = 16


def multiply(left: Stack, right: Stack) -> Stack:
    """The products of two stacks of matrices: `(b, m, k)` and `(b, k, n)` to `(b, m, n)`."""
    product = np.zeros((len(left), left.shape[1], right.shape[2]), left.dtype)
    for i in range(0, left.shape[1], TILE):
        for j in range(0, right.shape[2], TILE):
            _add_product(product[:, i : i + TILE, j : j + TILE], left[:, i:], right[:, :, j:])
    return product


def gram(factors: Stack) -> Stack:
    """FᵀF of a stack `(b, k, n)`: `(b, n, n)`, half of it computed."""
    flipped, width = factors.transpose(0, 2, 1), factors.shape[2]
    product = np.zeros((len(factors), width, width), factors.dtype)
    for i in range(0, width, TILE):
        for j in range(i, width, TILE):
            tile = product[:, i : i + TILE, j : j + TILE]
            _add_product(tile, flipped[:, i:], factors[:, :, j:])
            if j > i:
                product[:, j : j + TILE, i : i + TILE] = tile.transpose(0, 2, 1)
    return product


def gram_of_all(vectors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """VᵀV of one tall matrix `(n, d)`: `(d, d)`."""
    width = vectors.shape[1]
    whole = len(vectors) - len(vectors) % _PARTS
    parts = gram(vectors[:whole].reshape(_PARTS, whole // _PARTS, width))
    return np.asarray(parts.sum(axis=0) + gram(vectors[None, whole:])[0])


def turn_all(
    vectors: NDArray[np.floating[Any]], matrix: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """The product of one tall matrix `(n, d)` and a small one `(d, k)`: `(n, k)`."""
    size = max(1, TILE**3 // max(1, matrix.size))
    whole = len(vectors) - len(vectors) % size
    parts = vectors[:whole].reshape(whole // size, size, vectors.shape[1]) @ matrix
    return np.concatenate([parts.reshape(whole, matrix.shape[1]), vectors[whole:] @ matrix])


def solve_symmetric(matrices: Stack, right: Stack) -> Stack:
    """Solve positive definite systems, tile by tile with the Schur complement.

    Args:
        matrices: `(b, n, n)`, symmetric and positive definite.
        right: `(b, n, k)`.

    Returns:
        `(b, n, k)`.
    """
    left_over = matrices.shape[1] - TILE
    if left_over <= 0:
        return np.asarray(np.linalg.solve(matrices, right))
    across = matrices[:, :TILE, TILE:]
    first = np.concatenate([across, right[:, :TILE]], axis=2)
    solved = solve_symmetric(matrices[:, :TILE, :TILE], first)
    inner, outer = solved[:, :, :left_over], solved[:, :, left_over:]
    flipped = across.transpose(0, 2, 1)
    complement = matrices[:, TILE:, TILE:] - multiply(flipped, inner)
    rest = solve_symmetric(complement, right[:, TILE:] - multiply(flipped, outer))
    return np.concatenate([outer - multiply(inner, rest), rest], axis=1)


def _add_product(tile: Stack, left: Stack, right: Stack) -> None:
    """Add the product of the first rows of `left` and the first columns of `right` to a tile."""
    height, width = tile.shape[1:]
    for k in range(0, left.shape[2], TILE):
        tile += left[:, :height, k : k + TILE] @ right[:, k : k + TILE, :width]
