"""Which of some items stand in the rows of a sparse matrix."""

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
