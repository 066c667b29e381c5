"""Negative items of each user, drawn at random for the pooled AUC and for noise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_CHUNK_ROWS = 16_384
"""Users per block."""
_CHUNK_CELLS = 1 << 24
"""Users × items per block, for users with few items to draw from."""


def draw_negatives(forbidden: csr_array, num_negatives: int, seed: int) -> NDArray[np.int32]:
    """Draw distinct items outside each row, uniformly: `(n, num_negatives)` int32 in random order.

    An item with an entry in `forbidden` `(n, num_items)`, which has no duplicates, is never drawn.
    −1 pads a row that has fewer items to draw from.
    """
    num_rows, num_items = forbidden.shape
    generator = np.random.default_rng(seed)
    negatives = np.full((num_rows, num_negatives), -1, dtype=np.int32)
    available = num_items - np.diff(forbidden.indptr)
    # Rejection needs most draws to be new and allowed; where they are not, shuffle what is left.
    scarce = (available < 4 * num_negatives) | (available < num_items // 4)
    chunk = max(1, min(_CHUNK_ROWS, _CHUNK_CELLS // max(1, num_items)))
    for rows in _chunks(np.flatnonzero(scarce), chunk):
        negatives[rows] = _shuffle(forbidden[rows], num_negatives, generator)
    for rows in _chunks(np.flatnonzero(~scarce), _CHUNK_ROWS):
        negatives[rows] = _reject(forbidden[rows], num_negatives, generator)
    return negatives


def mark_members(matrix: csr_array, items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return which items `(b, k)` have an entry in their row of `(b, d)`, without a dense matrix.

    The matrix has no duplicates. Items −1 and from d on have no entry.
    """
    num_rows = len(items)
    width = max(int(matrix.shape[1]), int(items.max(initial=-1)) + 1) + 1
    # Shifted by one, so that −1 stays in its own row and meets no entry.
    members = np.repeat(np.arange(num_rows, dtype=np.int64), np.diff(matrix.indptr)) * width
    members += matrix.indices
    members += 1
    members.sort()
    if len(members) == 0:
        return np.zeros(items.shape, dtype=np.bool_)
    wanted = np.arange(num_rows, dtype=np.int64)[:, None] * width + items + 1
    nearest = np.minimum(np.searchsorted(members, wanted), len(members) - 1)
    marks: NDArray[np.bool_] = members[nearest] == wanted
    return marks


def _chunks(rows: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _shuffle(
    forbidden: csr_array, num_negatives: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Sort all items by random keys, the forbidden ones last, and take the first."""
    num_rows, num_items = forbidden.shape
    keys = generator.random((num_rows, num_items))
    rows = np.repeat(np.arange(num_rows), np.diff(forbidden.indptr))
    keys[rows, forbidden.indices] = 2.0
    drawn = np.full((num_rows, num_negatives), -1, dtype=np.int32)
    order = np.argsort(keys, axis=1)[:, :num_negatives]
    allowed = np.take_along_axis(keys, order, axis=1) < 2.0
    drawn[:, : order.shape[1]] = np.where(allowed, order, -1)
    return drawn


def _reject(
    forbidden: csr_array, num_negatives: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Draw more than needed and keep the first that are new and allowed; redraw rows that fail.

    Given that a row has enough, any set of allowed items is equally likely, so redrawing whole rows
    keeps the draw uniform.
    """
    num_rows, num_items = forbidden.shape
    drawn = np.empty((num_rows, num_negatives), dtype=np.int32)
    open_rows = np.arange(num_rows)
    width = 2 * num_negatives
    while len(open_rows):
        candidates = generator.integers(num_items, size=(len(open_rows), width), dtype=np.int32)
        usable = ~mark_members(forbidden[open_rows], candidates) & _first_of_kind(candidates)
        position = np.cumsum(usable, axis=1)
        full = position[:, -1] >= num_negatives
        kept = usable & (position <= num_negatives) & full[:, None]
        drawn[open_rows[full]] = candidates[kept].reshape(-1, num_negatives)
        open_rows = open_rows[~full]
        width *= 2
    return drawn


def _first_of_kind(candidates: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Mark each value's first occurrence in its row."""
    order = np.argsort(candidates, axis=1, kind="stable")
    ordered = np.take_along_axis(candidates, order, axis=1)
    first = np.ones(candidates.shape, dtype=np.bool_)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    return first
