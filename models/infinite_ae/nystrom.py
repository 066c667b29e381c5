"""∞-AE on more rows than a kernel matrix can hold: f(x) = K(x, C) β for m of the rows, C.

β minimises Σ w_i |f(x_i) − x_i|² + λ' tr(βᵀ K(C, C) β): the exact problem with its solution limited
to the span of C, and with the same λ' and W. (Williams & Seeger, NIPS 2000; Rudi,
Camoriano & Rosasco, NIPS 2015; Falkon, Rudi, Carratino & Rosasco, NIPS 2017.)

With K(C, C) + εI = LLᵀ and φ(x) = L⁻¹ K(C, x) it is plain ridge regression on m features,

    (A + λ'I) γ = B,  A = Σ w_i φ(x_i) φ(x_i)ᵀ,  B = Σ w_i φ(x_i) x_iᵀ,  f(x) = φ(x)ᵀ γ,

whose condition number is at most about Σ w/λ, that of the exact problem: K(C, X) W K(X, C) itself,
which squares it, is never formed. A and B are summed over blocks of rows, in one pass for all λ, so
more rows take more time but no more memory: O(n m² + n m) operations, O(m² + m d) numbers.

Falkon uses conjugate gradients instead of A. A step of them costs O(n m) for each of the d columns
of X, and d is in the thousands: A costs as much as one step for m/2 columns, for all λ together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from scipy.sparse import csr_array

from perennial.models.infinite_ae.gram import TILE, TileKernel, cross_kernel, gram_below
from perennial.models.infinite_ae.row_blocks import RowBlock, popular_items, split_rows
from perennial.models.mesh import threads_for
from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.parallel import run_all

PROGRESS_ROWS = 16 * TILE
"""Number of rows between two progress messages."""

_TAIL_ITEMS = 256
"""Number of items whose part of B one sparse product computes."""


def draw_centres(
    weights: Float64[np.ndarray, " n"], count: int, seed: int
) -> Int64[np.ndarray, " m"]:
    """Draw rows as centres, `(min(count, n),)` ascending numbers, with probabilities by weight."""
    num_rows = len(weights)
    if count >= num_rows:
        return np.arange(num_rows, dtype=np.int64)
    share = weights / weights.sum()
    drawn = np.random.default_rng(seed).choice(num_rows, size=count, replace=False, p=share)
    return np.sort(drawn).astype(np.int64)


@dataclass(frozen=True)
class Centres:
    """The feature map φ(x) = L⁻¹ K(C, x).

    Attributes:
        rows: C.
        pieces: C in tiles.
        factor: `(m, m)` float64 in Fortran order, Lᵀ in its upper triangle.
    """

    kernel: TileKernel
    rows: RowBlock
    pieces: list[RowBlock]
    factor: Float64[np.ndarray, "m m"]

    @classmethod
    def of(
        cls, matrix: csr_array, chosen: Int64[np.ndarray, " m"], kernel: TileKernel, jitter: float
    ) -> "Centres":
        """Factorise K(C, C) + εI.

        Args:
            matrix: `(n, d)` X, whose popular items are stored densely.
            chosen: `(m,)` numbers of the rows that are C.
            kernel: Θ in float64.
            jitter: ε as a share of the mean of K(C, C)'s diagonal. Two equal rows need it. It moves
                what the exact solution makes of any direction by at most `jitter`/λ.

        Raises:
            UserError: K(C, C) + εI is singular.
        """
        rows = split_rows(matrix[chosen], popular_items(matrix))
        below = gram_below(rows, kernel)
        diagonal = kernel.diagonal(rows)
        added = jitter * float(diagonal.mean()) if len(rows) else 0.0
        np.fill_diagonal(below, diagonal + added)
        # LAPACK reads columns first: what lies below our diagonal is its upper triangle.
        factor = _cholesky(below.T, lower=False, what="kernel matrix of the centres")
        return cls(kernel, rows, list(rows.pieces(TILE)), factor)

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, rows: csr_array) -> RowBlock:
        """Split rows `(b, d)` at the popular items of the centres' rows."""
        return split_rows(rows, self.rows.head_items)

    def features(self, block: RowBlock) -> Float64[np.ndarray, "b m"]:
        """Compute φ of each row of a block, `(b, m)`."""
        similarity = cross_kernel(block, self.pieces, self.kernel)
        if similarity.size == 0:
            return similarity
        with threads_for(len(self)):
            solved = blas.dtrsm(1.0, self.factor, similarity.T, trans_a=1, overwrite_b=1)
        features: NDArray[np.float64] = solved.T
        return features

    def weigh(self, on_features: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """Compute L⁻ᵀu, `(m,)`: turn coefficients of features into coefficients of K(C, ·)."""
        if len(on_features) == 0:
            return on_features
        weighed: NDArray[np.float64] = blas.dtrsv(self.factor, on_features)
        return weighed


@dataclass(frozen=True)
class NormalEquations:
    """A and B of some rows, ready for any λ.

    Attributes:
        gram: `(m, m)` float64 in Fortran order, A in its lower triangle.
        right: `(d, m)` Bᵀ.
        mean_diagonal: Σ w K(x, x) / Σ w, by which λ is scaled; 0 without rows.
    """

    centres: Centres
    gram: Float64[np.ndarray, "m m"]
    right: Float[np.ndarray, "d m"]
    mean_diagonal: float

    @classmethod
    def of(
        cls,
        centres: Centres,
        rows: csr_array,
        weights: Float64[np.ndarray, " n"],
        dtype: np.dtype[Any],
        progress: Progress,
    ) -> "NormalEquations":
        """Sum over the rows X `(n, d)` with weights W `(n,)`, `TILE` at a time; B is of `dtype`."""
        size = len(centres)
        gram = np.zeros((size, size), dtype=np.float64, order="F")
        right = np.zeros((rows.shape[1], size), dtype=dtype)
        diagonal = 0.0
        for start, block in blocks_of(rows, centres):
            weight = weights[start : start + len(block)]
            diagonal += float(centres.kernel.diagonal(block).astype(np.float64) @ weight)
            features = centres.features(block)
            _add_right(right, block, (features * weight[:, None]).astype(dtype, copy=False))
            features *= np.sqrt(weight)[:, None]
            if size:
                with threads_for(size):
                    gram = blas.dsyrk(1.0, features.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
            if start and start % PROGRESS_ROWS == 0:
                progress(f"∞-AE: {start:,} of {rows.shape[0]:,} rows on {size:,} centres")
        mean = diagonal / float(weights.sum()) if len(weights) else 0.0
        return cls(centres, gram, right, mean)

    def factorise(self, reg: float) -> Float64[np.ndarray, "m m"]:
        """Compute the `(m, m)` lower Cholesky factor of A + λ'I; `UserError` if it is singular."""
        system = self.gram.copy(order="F")
        system[np.diag_indices(len(system))] += reg * self.mean_diagonal
        return _cholesky(system, lower=True, what=f"system with λ = {reg:g}")


def blocks_of(rows: csr_array, centres: Centres) -> Iterator[tuple[int, RowBlock]]:
    """Yield X `(n, d)` in blocks of `TILE` rows, each with the number of its first row."""
    for start in range(0, rows.shape[0], TILE):
        yield start, centres.split(rows[start : start + TILE])


def _add_right(
    right: Float[np.ndarray, "d m"], block: RowBlock, weighed: Float[np.ndarray, "b m"]
) -> None:
    """Add Σ x_i (w_i φ_i)ᵀ over a block to Bᵀ; only items that occur in it are touched."""
    dtype = right.dtype
    if len(block.head_items):
        with threads_for(weighed.shape[1]):
            right[block.head_items] += block.head.T.astype(dtype, copy=False) @ weighed
    by_item = block.tail_by_item
    present = np.flatnonzero(np.diff(by_item.indptr))

    def add(start: int) -> None:
        items = present[start : start + _TAIL_ITEMS]
        right[items] += by_item[items].astype(dtype, copy=False) @ weighed

    run_all([partial(add, start) for start in range(0, len(present), _TAIL_ITEMS)])


def _cholesky(
    matrix: Float64[np.ndarray, "m m"], *, lower: bool, what: str
) -> Float64[np.ndarray, "m m"]:
    """Factorise in place; the other triangle is left as it was."""
    if len(matrix) == 0:
        return matrix
    with threads_for(len(matrix)):
        factor, info = lapack.dpotrf(matrix, lower=lower, clean=0, overwrite_a=1)
    if info:
        raise UserError(f"∞-AE: the {what} is singular; take a larger λ or a larger jitter")
    return factor  # type: ignore[no-any-return]
