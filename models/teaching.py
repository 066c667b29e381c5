"""What an earlier model answers for replayed rows, which a new one learns to answer too (ADER)."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.memory_estimate import score_rows
from models.protocol import FittedModel


def ask_teacher(teacher: FittedModel, replayed: csr_array) -> NDArray[np.float32]:
    """Score replayed rows with the model that taught them.

    Args:
        teacher: knows all the items of the rows.
        replayed: `(n, num_items)`, `num_items` ≥ `teacher.num_items`.

    Returns:
        `(n, teacher.num_items)`.

    Raises:
        ValueError: a row has an item that the teacher does not know.
    """
    known = teacher.num_items
    if replayed.nnz and int(replayed.indices.max()) >= known:
        raise ValueError(f"a replayed row has an item outside the {known} of its teacher")
    answers = np.empty((replayed.shape[0], known), dtype=np.float32)
    start = 0
    for block in teacher.score_blocks(csr_array(replayed[:, :known]), score_rows(known)):
        answers[start : start + len(block)] = block
        start += len(block)
    return answers
