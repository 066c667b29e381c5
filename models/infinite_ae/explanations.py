"""Contribution of each training row to a score, exact for a model that is linear in its rows."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FittedModel
from perennial.models.infinite_ae.gram import TileKernel, cross_kernel
from perennial.models.infinite_ae.row_blocks import RowBlock, split_rows


@dataclass(frozen=True)
class Explanation:
    """Scores as sums over training rows.

    Attributes:
        contributions: `(m, n)` float64; the row of an item sums to its score.
        similarity: `(n,)` float64, the normalised kernel of each training row with the context.
        rows: `(n, num_items)`, the training rows.
        replayed: `(n,)` bool, rows that come from a memory; `None` if that is not known.
    """

    contributions: NDArray[np.float64]
    similarity: NDArray[np.float64]
    rows: csr_array
    replayed: NDArray[np.bool_] | None


@runtime_checkable
class ExplainableModel(FittedModel, Protocol):
    """A model whose scores are sums over its training rows."""

    def explain(self, context: csr_array, items: NDArray[np.integer[Any]]) -> Explanation:
        """Split the scores of `(m,)` items for a context `(1, d)` into parts of training rows."""


def compare(
    context: csr_array, rows: RowBlock, pieces: list[RowBlock], kernel: TileKernel
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Compute the kernel of one context `(1, num_items)` with the training rows.

    Returns:
        `(1, n)` Θ, and `(n,)` Θ(x, x') / √(Θ(x, x) Θ(x', x')).

    Raises:
        ValueError: there is not one context, or it has another width.
    """
    if context.shape != (1, rows.rows.shape[1]):
        raise ValueError(f"a context of shape {context.shape}, rows of {rows.rows.shape[1]} items")
    block = split_rows(context, rows.head_items)
    theta = cross_kernel(block, pieces, kernel)
    lengths = kernel.diagonal(rows).astype(np.float64) * float(kernel.diagonal(block)[0])
    return theta, theta[0].astype(np.float64) / np.sqrt(lengths)


def weigh(
    coefficients: NDArray[Any], targets: csr_array | NDArray[Any], items: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Compute the contributions c_j · X_ji of rows to items `(m,)`: `(m, n)` float64.

    c is `(n,)`, and the targets X of the rows are `(n, any width)`.
    """
    chosen = targets[:, items]
    dense = chosen if isinstance(chosen, np.ndarray) else chosen.toarray()
    weighed: NDArray[np.float64] = dense.T.astype(np.float64) * coefficients.astype(np.float64)
    return weighed
