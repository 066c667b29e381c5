"""Items that a user has nothing to do with, drawn at random for the pooled AUC."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def mark_members(matrix: csr_array, items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Look items up in the row beside them, all rows at once, without making the matrix dense.

    Args:
        matrix: `(b, any width)`; an item with an entry is a member.
        items: `(b, k)` item indices ≥ −1; −1 is never a member, nor is one beyond the width.

    Returns:
        `(b, k)` bool.
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
    asked = np.arange(num_rows, dtype=np.int64)[:, None] * width + items + 1
    found = np.minimum(np.searchsorted(members, asked), len(members) - 1)
    marks: NDArray[np.bool_] = members[found] == asked
    return marks


_CHUNK_ROWS = 16_384
"""Users drawn for at a time."""
_CHUNK_CELLS = 1 << 24
"""Users × items held at a time for users who leave little to draw from."""


def draw_negatives(forbidden: csr_array, num_negatives: int, seed: int) -> NDArray[np.int32]:
    """Draw distinct items outside each row, uniformly.

    Args:
        forbidden: `(n, num_items)`; an item with an entry is never drawn. No duplicate entries.
        num_negatives: how many per row.
        seed: of the draw.

    Returns:
        `(n, num_negatives)` int32 in random order; −1 pads a row with fewer items outside it.
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


def _chunks(rows: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    """Cut row numbers into pieces of at most `size`."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _shuffle(
    forbidden: csr_array, num_negatives: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Put all items in random order, the forbidden ones last, and take the first."""
    num_rows, num_items = forbidden.shape
    luck = generator.random((num_rows, num_items))
    rows = np.repeat(np.arange(num_rows), np.diff(forbidden.indptr))
    luck[rows, forbidden.indices] = 2.0
    drawn = np.full((num_rows, num_negatives), -1, dtype=np.int32)
    order = np.argsort(luck, axis=1)[:, :num_negatives]
    allowed = np.take_along_axis(luck, order, axis=1) < 2.0
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
