"""EASE: a ridge regression of items on items without a diagonal (Steck, WWW 2019).

B minimises ‖W^½(X − XB)‖² + λ‖B‖² with a diagonal of zeros. With P = (XᵀWX + λI)⁻¹ it is
B_ij = −P_ij / P_jj off the diagonal (Eq. 8 there), and a context x is scored xB.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, cholesky, lapack, solve_triangular
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.mesh import threads_for
from perennial.models.scoring import context_blocks
from perennial.models.selection import Candidate, HoldoutRecipe, choose_and_solve, report_choice
from perennial.storage.base import Json
from perennial.storage.errors import UserError

_TILE = 512
_BLOCK_BYTES = 48 << 20
"""Scores of a validation block, a masked copy and the ranking's own."""


@dataclass(frozen=True)
class FittedEase:
    """P, from which B is a division away: P is symmetric and takes half of B's place in a file.

    Attributes:
        inverse: `(num_items, num_items)` float32, P with zeros on its diagonal.
        diagonal: `(num_items,)` float32, the diagonal of P; positive.
    """

    inverse: NDArray[np.float32]
    diagonal: NDArray[np.float32]
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.diagonal)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Score contexts x as xB; 0 for an item that no row has."""
        scale = -1 / self.diagonal
        for block in context_blocks(contexts, self.num_items, block_rows):
            scores: NDArray[np.float32] = block.astype(np.float32, copy=False) @ self.inverse
            scores *= scale
            yield scores

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the upper triangle of P row by row: 2d² bytes for d items.

        No smaller file spares `restore` a factorisation, which takes d³ operations where reading
        takes d². Rows of X and λ would take less space where there are many items.
        """
        # The diagonal of each row's part is the zero of `inverse`.
        upper = [row[number:] for number, row in enumerate(self.inverse)]
        arrays = {"upper": np.concatenate(upper), "diagonal": self.diagonal}
        return arrays, {"report": dict(self.report)}


@dataclass(frozen=True)
class Ease(HoldoutRecipe[FittedEase]):
    """The recipe of EASE.

    Attributes:
        regs: the grid of λ, of which validation chooses by HR@100; a single one is taken as it is.
        validation_users: largest number of validation rows, a seeded sample; `None` means all.
    """

    name: ClassVar[str] = "ease"

    regs: tuple[float, ...] = (
        *(1.0, 10.0, 30.0, 100.0, 200.0, 400.0),
        *(700.0, 1000.0, 2000.0, 5000.0, 10000.0),
    )
    validation_users: int | None = 2000

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not self.regs or not all(0 < reg < np.inf for reg in self.regs):
            raise ValueError("regs must name at least one λ, each above 0")
        if self.validation_users is not None and self.validation_users < 1:
            raise ValueError("validation_users must be at least 1")

    @property
    def draws_at_random(self) -> bool:
        """True if λ is chosen on a drawn holdout."""
        return len(self.regs) > 1

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedEase:
        """Choose λ on a given holdout, then solve with `rows`; see `Recipe.fit_with_holdout`."""
        needed = _check_memory(rows, options.memory_limit)
        # First the middle of the grid, which is taken without validation rows; then from the
        # largest on, which is the better of equally good ones.
        falling = sorted(self.regs, reverse=True)
        middle = falling.pop((len(falling) - 1) // 2)
        candidates = [{"reg": reg} for reg in (middle, *falling)]
        trials, model = choose_and_solve(candidates, holdout, rows, options, _gram_of)
        report = {
            **report_choice(trials, holdout, rows),
            "reg": trials[0].candidate["reg"],
            "bytes_estimated": needed,
        }
        return dataclasses.replace(model, report=report)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedEase:
        """Restore the model that `FittedEase.to_arrays` was called on."""
        try:
            diagonal = np.asarray(arrays["diagonal"], dtype=np.float32)
            upper = np.asarray(arrays["upper"], dtype=np.float32)
            num_items = len(diagonal)
            if upper.shape != (num_items * (num_items + 1) // 2,) or diagonal.ndim != 1:
                raise ValueError("the triangle and the diagonal do not belong together")
            if not (np.isfinite(upper).all() and (diagonal > 0).all()):
                raise ValueError("a number is out of range")
            report = dict(manifest["report"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"ease: the stored model is damaged ({error}); fit it again") from None
        inverse = np.empty((num_items, num_items), dtype=np.float32)
        start = 0
        for number, row in enumerate(inverse):
            stop = start + num_items - number
            row[number:] = upper[start:stop]
            start = stop
        _mirror(inverse)
        return FittedEase(inverse, diagonal, report)


class _ItemGram:
    """XᵀWX of rows, prepared for any λ."""

    def __init__(self, rows: TrainingRows) -> None:
        matrix = rows.interactions.astype(np.float64)
        by_item = (matrix * rows.weights[:, None]).T.tocsr()
        self._gram = np.empty((rows.num_items, rows.num_items))
        # In tiles: as a sparse matrix the whole product would take twice its place.
        for start in range(0, rows.num_items, _TILE):
            stop = start + _TILE
            self._gram[start:stop] = (by_item[start:stop] @ matrix).toarray()

    def __call__(self, candidate: Candidate) -> FittedEase:
        """Invert by Cholesky, which is half the work of a general inverse.

        In float64: the largest eigenvalue is up to the sum of X's squares, 10⁵ times a small λ and
        more, and single precision would lose most of its digits to that.
        """
        reg = candidate["reg"]
        # LAPACK's columns are rows of ours: its lower triangle is our upper one.
        matrix = self._gram.copy()
        matrix[np.diag_indices_from(matrix)] += reg
        _, info = lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
        if info == 0:
            _, info = lapack.dpotri(matrix.T, lower=1, overwrite_c=1)
        if info:
            raise _singular(reg)
        return _fitted(matrix)


class _RowGram:
    """P through the rows, where there are few, as of synthetic users.

    With Z = W^½X it is P = (I − Zᵀ(ZZᵀ + λI)⁻¹Z)/λ (Woodbury): for n rows n d² operations, not d³.
    """

    def __init__(self, rows: TrainingRows) -> None:
        scaled = rows.interactions.astype(np.float64) * np.sqrt(rows.weights)[:, None]
        self._gram = (scaled @ scaled.T).toarray()
        self._rows = scaled.toarray(order="F")

    def __call__(self, candidate: Candidate) -> FittedEase:
        """Factorise the Gram matrix of the rows, and solve for Z."""
        reg = candidate["reg"]
        system = self._gram.copy()
        system[np.diag_indices_from(system)] += reg
        with threads_for(len(system)):
            try:
                factor = cholesky(system, lower=True, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:
                raise _singular(reg) from None
            halves = solve_triangular(factor, self._rows, lower=True, check_finite=False)
        matrix = blas.dsyrk(-1 / reg, halves, trans=1, lower=1).T
        matrix[np.diag_indices_from(matrix)] += 1 / reg
        return _fitted(matrix)


def _gram_of(rows: TrainingRows) -> _ItemGram | _RowGram:
    """Return the one that takes less work."""
    return _RowGram(rows) if 2 * rows.num_rows < rows.num_items else _ItemGram(rows)


def _singular(reg: float) -> UserError:
    return UserError(f"ease: the item matrix with λ = {reg:g} is singular; take a larger λ")


def _fitted(matrix: NDArray[np.float64]) -> FittedEase:
    """Return the model of P, of which only the upper triangle is given."""
    inverse = matrix.astype(np.float32)
    diagonal = inverse.diagonal().copy()
    _mirror(inverse)
    np.fill_diagonal(inverse, 0)
    return FittedEase(inverse, diagonal, {})


def _mirror(matrix: NDArray[np.float32]) -> None:
    """Write the upper triangle of a square matrix over its lower one."""
    for start in range(0, len(matrix), _TILE):
        stop = start + _TILE
        tile = np.triu(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = tile + np.triu(tile, 1).T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T


def _check_memory(rows: TrainingRows, limit: int | None) -> int:
    """Refuse a fit over the memory limit, before anything is allocated; return its bytes.

    XᵀWX and its inverse are float64, or Z, what is left of it and P; P of the best λ and of
    the current one are float32.
    """
    num_items = rows.num_items
    sparse = 12 * 5 * int(rows.interactions.nnz)
    scores = min(_BLOCK_BYTES, 12 * rows.num_rows * num_items)
    needed = 24 * num_items**2 + 24 * _TILE * num_items + sparse + scores
    if limit is not None and needed > limit:
        raise UserError(
            f"ease needs {needed / 2**20:,.0f} MiB for matrices of {num_items:,} × {num_items:,} "
            f"items, over the memory limit of {limit / 2**20:,.0f} MiB; raise --memory-limit, or "
            "choose a model that needs no such matrix, such as --model mvae"
        )
    return needed
