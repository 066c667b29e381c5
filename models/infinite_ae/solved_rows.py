"""Training rows and the factor of their kernel system, which exact solutions of ∞-AE have."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.infinite_ae.explanations import compare
from perennial.models.infinite_ae.gram import TILE, TileKernel, cross_kernel, normalised_gram
from perennial.models.infinite_ae.row_blocks import RowBlock, split_rows
from perennial.models.solver import Factor
from perennial.storage.base import Json
from perennial.storage.results.artifacts import csr_to_arrays


@dataclass(frozen=True)
class SolvedRows:
    """Training rows and the factor of their kernel system.

    Attributes:
        rows: X.
        weights: `(n,)` W, in the order of `rows`.
        factor: of K + λ'W⁻¹.
        report: λ, the validation, and the numbers of rows.
    """

    settings: Mapping[str, Json]
    kernel: TileKernel
    rows: RowBlock
    weights: NDArray[np.float64]
    factor: Factor
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """d, on which Θ depends."""
        return int(self.rows.rows.shape[1])

    @cached_property
    def pieces(self) -> list[RowBlock]:
        """X in tiles."""
        return list(self.rows.pieces(TILE))

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Compute the normalised kernel of rows with themselves, see `Teacher.similarity`."""
        return normalised_gram(split_rows(rows, self.rows.head_items), self.kernel)

    def cross(self, contexts: csr_array) -> NDArray[Any]:
        """Compute Θ of contexts `(b, num_items)` with the rows, `(b, n)`."""
        block = split_rows(contexts, self.rows.head_items)
        return cross_kernel(block, self.pieces, self.kernel)

    def compare(self, context: csr_array) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Compute `(1, n)` Θ of one context `(1, num_items)` with the rows, and `(n,)` cosines."""
        return compare(context, self.rows, self.pieces, self.kernel)

    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the rows and their weights, from which `restore` makes the factor again."""
        return {**csr_to_arrays(self.rows.rows), "weights": self.weights}
