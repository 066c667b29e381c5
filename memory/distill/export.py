"""Conversion of a support into sparse synthetic users, the most useful first."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from perennial.memory.distill.objective import NETWORK
from perennial.memory.distill.settings import Export
from perennial.memory.distill.top_k import keep_largest
from perennial.models.infinite_ae.kernel import kernel_diagonal, kernel_values
from perennial.models.mesh import threads_for


def stored_form(support: Array, max_items: int | None, export: Export) -> Array:
    """Return the support as it is stored, `(μ, i)`: at most `max_items` per row, values in [0, 1].

    Args:
        support: `(μ, i)`.
        max_items: k.
        export: `soft` keeps the weights, `hard` makes them 1.
    """
    kept = jnp.clip(keep_largest(support, max_items), 0, 1)
    return (kept > 0).astype(kept.dtype) if export == "hard" else kept


def sparse_rows(
    support: NDArray[np.float32] | csr_array, items: NDArray[np.int64], num_items: int
) -> csr_array:
    """Convert a support into sparse rows over the whole catalogue, without empty ones.

    The most useful rows come first, as by `order_by_usefulness`.

    Args:
        support: `(μ, i)`, columns `items` and then padding.
        items: `(n,)` ascending, n ≤ i: the item of each column.
        num_items: number of items of the catalogue.

    Returns:
        `(≤ μ, num_items)` float32.
    """
    narrow: csr_array = csr_array(support[:, : len(items)])
    narrow = narrow[np.flatnonzero(np.diff(narrow.indptr))]
    columns = items[narrow.indices].astype(np.int32)
    wide = csr_array((narrow.data, columns, narrow.indptr), shape=(narrow.shape[0], num_items))
    ordered: csr_array = wide[order_by_usefulness(wide)]
    return ordered


def order_by_usefulness(rows: csr_array) -> NDArray[np.int64]:
    """Order rows so that each is the one that the rows before it predict worst.

    That is the pivot order of a Cholesky factorisation of the kernel matrix, the greedy choice of
    rows for a Nyström approximation (Fine & Scheinberg, JMLR 2001): a prefix spans as much as so
    few rows can.

    Args:
        rows: `(n, d)`, values in [0, 1].

    Returns:
        `(n,)` a permutation.
    """
    if rows.shape[0] < 2:
        return np.arange(rows.shape[0])
    inner = np.asarray((rows @ rows.T).toarray(), dtype=np.float32)
    squares = inner.diagonal().copy()
    gram = np.array(kernel_values(inner, squares, squares, rows.shape[1], NETWORK), np.float64)
    np.fill_diagonal(gram, np.asarray(kernel_diagonal(squares, rows.shape[1], NETWORK)))
    with threads_for(len(gram)):
        _, pivots, _, _ = lapack.dpstrf(gram)
    order: NDArray[np.int64] = pivots.astype(np.int64) - 1
    return order
