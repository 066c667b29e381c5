"""Scores in the blocks that a caller asks for, made a few rows at a time."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.memory_estimate import score_rows


def score_in_parts(
    contexts: csr_array,
    num_items: int,
    block_rows: int,
    score: Callable[[csr_array], NDArray[np.float32]],
) -> Iterator[NDArray[np.float32]]:
    """What `FittedModel.score_blocks` gives, for a model that scores all its items at once.

    A block that is wide for a caller may be few scores but many kernel values, so that no more than
    `models.memory_estimate.score_rows` contexts are scored at a time.

    Args:
        contexts: `(n, num_items)`.
        num_items: d of the model.
        block_rows: rows of a block.
        score: `(b, num_items)` contexts ↦ as many scores, which nobody else holds.

    Raises:
        ValueError: the contexts have another number of items.
    """
    if contexts.shape[1] != num_items:
        raise ValueError(f"contexts of {contexts.shape[1]} items, model of {num_items}")
    step = score_rows(num_items)
    for start in range(0, contexts.shape[0], block_rows):
        block = contexts[start : start + block_rows]
        if block.shape[0] <= step:
            yield score(block)
            continue
        scores = np.empty(block.shape, dtype=np.float32)
        for first in range(0, block.shape[0], step):
            part = slice(first, first + step)
            scores[part] = score(block[part])
        yield scores
