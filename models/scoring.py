"""Blocks of scores, computed a few rows at a time, and the scores of a teacher."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FittedModel

SCORE_ROWS = 1024
"""Rows that are scored at a time; fewer where there are very many items."""


_SCORE_CELLS = 2**27
"""Largest number of scores in memory, 512 MiB: 134 rows of a million items."""


def score_rows(num_items: int) -> int:
    """Return the number of rows that are scored at a time."""
    return max(1, min(SCORE_ROWS, _SCORE_CELLS // max(1, num_items)))


def context_blocks(contexts: csr_array, num_items: int, block_rows: int) -> Iterator[csr_array]:
    """Yield contexts `(n, num_items)` in blocks of `block_rows`; `ValueError` for another width."""
    if contexts.shape[1] != num_items:
        raise ValueError(f"contexts of {contexts.shape[1]} items, model of {num_items}")
    for start in range(0, contexts.shape[0], block_rows):
        yield contexts[start : start + block_rows]


def score_in_parts(
    contexts: csr_array,
    num_items: int,
    block_rows: int,
    score: Callable[[csr_array], NDArray[np.float32]],
) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks of `FittedModel.score_blocks`, for a model that scores all items at once.

    A block of few scores may take many kernel values, so that no more than
    `perennial.models.scoring.score_rows` contexts are scored at a time. `score` maps contexts `(b,
    num_items)` to scores of that shape, in a new array.

    Raises:
        ValueError: the contexts have another number of items.
    """
    step = score_rows(num_items)
    for block in context_blocks(contexts, num_items, block_rows):
        if block.shape[0] <= step:
            yield score(block)
            continue
        scores = np.empty(block.shape, dtype=np.float32)
        for first in range(0, block.shape[0], step):
            part = slice(first, first + step)
            scores[part] = score(block[part])
        yield scores


def score_replayed(teacher: FittedModel, replayed: csr_array) -> NDArray[np.float32]:
    """Score replayed rows `(n, num_items)` with their teacher: `(n, teacher.num_items)`.

    Raises:
        ValueError: a row has an item that the teacher cannot score.
    """
    known = teacher.num_items
    if replayed.nnz and int(replayed.indices.max()) >= known:
        raise ValueError(f"a replayed row has an item outside the {known} of its teacher")
    scores = np.empty((replayed.shape[0], known), dtype=np.float32)
    start = 0
    for block in teacher.score_blocks(csr_array(replayed[:, :known]), score_rows(known)):
        scores[start : start + len(block)] = block
        start += len(block)
    return scores
