"""What a model is given: the rows that it is fitted on, and whom its settings are chosen by."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.protocol import TrainingRows
from models.validation import HoldOut
from stream.paper_split import PaperSplit


def judged_by_split(split: PaperSplit) -> HoldOut:
    """All users of train, with the split's validation interactions as the answers."""
    rows = TrainingRows.of_users(split.train)
    asked = split.validation
    return HoldOut(rows, asked.users.astype(np.int64), asked.targets[:, : rows.num_items])


def judged_apart(held: HoldOut, rows: csr_array, *, synthetic: bool) -> HoldOut:
    """Other rows to be fitted on, with the same people to choose by.

    Args:
        held: of all users.
        rows: `(n, num_items)` float32, values in [0, 1].
        synthetic: whether they are nobody's, so that none of them could be held out.
    """
    count = rows.shape[0]
    marks: NDArray[np.bool_] = np.full(count, synthetic)
    training = TrainingRows(rows, np.ones(count), marks, np.ones(count, dtype=np.int32))
    return HoldOut(training, held.users, held.targets, apart=held.contexts)
