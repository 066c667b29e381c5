"""Implicit alternating least squares: exact solves for all rows against fixed columns, in blocks.

Hu, Koren & Volinsky, ICDM 2008, in the form of Rendle et al., RecSys 2022 ("Revisiting the
performance of iALS on item recommendation benchmarks"). For rows of weight c_u and entries
0 < v_ui ≤ 1 the factors minimise

    Σ_u c_u [ Σ_i v_ui (1 − ⟨w_u, h_i⟩)² + α₀ Σ_i ⟨w_u, h_i⟩² + λ (Σ_i v_ui + α₀ m)^ν |w_u|² ]
      + λ Σ_i (Σ_u c_u v_ui + α₀ Σ_u c_u)^ν |h_i|²

A value v below 1 is the weight of its cell as an observation: for an entry that exists with
probability v, this is the expected loss. c_u scales all terms with w_u, so that a row of weight 2
counts as two equal rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mesh import one_thread
from perennial.storage.parallel import run_all

Stack = NDArray[np.floating[Any]]
"""A stack of matrices along the first axis."""

TILE = 64

_PARTS = 16


def multiply(left: Stack, right: Stack) -> Stack:
    """Multiply two stacks of matrices, `(b, m, k)` and `(b, k, n)`, to `(b, m, n)`."""
    product = np.zeros((len(left), left.shape[1], right.shape[2]), left.dtype)
    for i in range(0, left.shape[1], TILE):
        for j in range(0, right.shape[2], TILE):
            _add_product(product[:, i : i + TILE, j : j + TILE], left[:, i:], right[:, :, j:])
    return product


def gram(factors: Stack) -> Stack:
    """Compute FᵀF of a stack `(b, k, n)`: `(b, n, n)`, from half of the products."""
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
    """Compute VᵀV of one tall matrix `(n, d)`: `(d, d)`."""
    width = vectors.shape[1]
    whole = len(vectors) - len(vectors) % _PARTS
    parts = gram(vectors[:whole].reshape(_PARTS, whole // _PARTS, width))
    return np.asarray(parts.sum(axis=0) + gram(vectors[None, whole:])[0])


def turn_all(
    vectors: NDArray[np.floating[Any]], matrix: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Multiply one tall matrix `(n, d)` and a small one `(d, k)`: `(n, k)`."""
    size = max(1, TILE**3 // max(1, matrix.size))
    whole = len(vectors) - len(vectors) % size
    parts = vectors[:whole].reshape(whole // size, size, vectors.shape[1]) @ matrix
    return np.concatenate([parts.reshape(whole, matrix.shape[1]), vectors[whole:] @ matrix])


def solve_symmetric(matrices: Stack, right: Stack) -> Stack:
    """Solve positive definite systems `(b, n, n)` for `(b, n, k)`, tile by tile.

    Tiles are joined by the Schur complement.
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


Factors = NDArray[np.floating[Any]]
"""One vector per row or item; its dtype is that of all computations."""

BLOCK_FLOATS = 1 << 18
"""Numbers in the factors and matrices of a block, about as many as a core's cache holds."""

_FIRST_SCALE = 0.1


@dataclass(frozen=True)
class Objective:
    """Settings of the objective that the module states: α₀, λ and ν."""

    unobserved: float
    reg: float
    exponent: float

    def penalties(self, observed: NDArray[Any], total: float) -> NDArray[np.float64]:
        """Compute the weight of each vector's squared length.

        `observed` is `(n,)`, the weight of the observed cells of each row, and `total` that of all
        cells of a row.
        """
        penalties: NDArray[np.float64] = (
            self.reg * (observed + self.unobserved * total) ** self.exponent
        )
        return penalties


def solve_rows(
    rows: csr_array, columns: Factors, weights: NDArray[np.float64], objective: Objective
) -> Factors:
    """Compute the best vector of each row, `(n, d)`, for given vectors of the columns `(m, d)`.

    The rows are `(n, m)` in (0, 1], and `weights` `(m,)` those of each column's cells: all 1 for
    items. An empty row has the vector zero.
    """
    dtype, width = columns.dtype, columns.shape[1]
    # In the eigenvectors of the part that all rows share, this part is diagonal, with a row's
    # penalty too: so the system of a row shorter than `width` is smaller than `width`.
    cells = np.sqrt(objective.unobserved * weights)[:, None].astype(dtype)
    shared = gram_of_all(columns * cells)
    with one_thread():
        eigenvalues, basis = np.linalg.eigh(shared.astype(np.float64))
    lengths = np.diff(rows.indptr)
    confidence = rows.data.astype(np.float64) * weights[rows.indices]
    observed = np.bincount(
        np.repeat(np.arange(len(lengths)), lengths), weights=confidence, minlength=len(lengths)
    )
    system = _System(
        rows=rows,
        roots=np.sqrt(confidence).astype(dtype),
        columns=turn_all(columns, basis.astype(dtype)),
        shared=np.maximum(eigenvalues, 0.0),
        penalties=objective.penalties(observed, float(weights.sum())),
    )
    solved = np.zeros((len(lengths), width), dtype)

    def solve(members: NDArray[np.int64], length: int) -> None:
        solved[members] = system.solve(members, length)

    run_all([partial(solve, *block) for block in _blocks(lengths, width)])
    return turn_all(solved, basis.T.astype(dtype))


def sweep(
    rows: csr_array, weights: NDArray[np.float64], first: Factors, objective: Objective
) -> Iterator[tuple[Factors, Factors]]:
    """Make endless sweeps, each solving for the users and then for the items; yield both.

    The rows are `(n, m)` in (0, 1], `weights` `(n,)` > 0, and `first` `(m, d)` the first vectors of
    the items. Vectors are `(n, d)` of the users and `(m, d)` of the items.
    """
    columns = rows.T.tocsr()
    ones = np.ones(rows.shape[1])
    items = first
    while True:
        users = solve_rows(rows, items, ones, objective)
        items = solve_rows(columns, users, weights, objective)
        yield users, items


def first_items(num_items: int, width: int, seed: int) -> NDArray[np.float32]:
    """Draw normal vectors `(num_items, width)` of a length that does not depend on `width`."""
    normal = np.random.default_rng(seed).standard_normal((num_items, width), dtype=np.float32)
    normal *= np.float32(_FIRST_SCALE / width**0.5)
    return normal


@dataclass(frozen=True)
class _System:
    """Arrays that the blocks of a half sweep share.

    Attributes:
        rows: `(n, m)`, the entries.
        roots: `(nnz,)`, square roots of the entries' weights.
        columns: `(m, d)` in the eigenvectors of the shared part.
        shared: `(d,)`, its eigenvalues.
        penalties: `(n,)`.
    """

    rows: csr_array
    roots: NDArray[np.floating[Any]]
    columns: Factors
    shared: NDArray[np.float64]
    penalties: NDArray[np.float64]

    def solve(self, members: NDArray[np.int64], length: int) -> Factors:
        """Solve for the vectors `(b, d)` of some rows with at most `length` entries.

        With the entries' columns F, scaled by their roots y, it is (D + FᵀF)⁻¹Fᵀy. Where a row has
        fewer entries than dimensions, D⁻¹Fᵀ(1 + FD⁻¹Fᵀ)⁻¹y is the same for less work.
        """
        starts = self.rows.indptr[members].astype(np.int64)
        places = np.arange(length)
        filled = places < np.diff(self.rows.indptr)[members, None]
        entries = np.where(filled, starts[:, None] + places, 0)
        roots = np.where(filled, self.roots[entries], 0)
        factors = self.columns[self.rows.indices[entries]]
        factors *= roots[:, :, None]
        diagonal = (self.shared + self.penalties[members, None]).astype(factors.dtype)
        width = factors.shape[2]
        if length < width:
            scaled = factors / diagonal[:, None, :]
            matrix = multiply(scaled, factors.transpose(0, 2, 1))
            matrix[:, places, places] += 1
            dual = solve_symmetric(matrix, roots[:, :, None])
            return np.asarray(np.einsum("blk,bl->bk", scaled, dual[:, :, 0]))
        matrix = gram(factors)
        matrix[:, np.arange(width), np.arange(width)] += diagonal
        right = np.einsum("blk,bl->bk", factors, roots)
        return solve_symmetric(matrix, right[:, :, None])[:, :, 0]


def _blocks(lengths: NDArray[np.integer[Any]], width: int) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield rows of nearly the same length, and the length to pad them to; no empty rows."""
    exponents = np.frexp(lengths)[1]
    grains = np.left_shift(1, np.maximum(exponents - 5, 0))
    padded = -(-lengths // grains) * grains
    for length in np.unique(padded[padded > 0]).tolist():
        members = np.flatnonzero(padded == length)
        size = max(1, BLOCK_FLOATS // block_floats(length, width))
        for start in range(0, len(members), size):
            yield members[start : start + size], length


def block_floats(length: int, width: int) -> int:
    """Count the numbers of a row of `length` entries in a block: its factors and its matrix."""
    return length * width + min(length, width) ** 2
