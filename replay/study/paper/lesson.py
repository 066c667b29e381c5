"""What a model is given: the rows that it is fitted on, and whom its settings are chosen by."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.protocol import TrainingRows
from models.validation import HoldOut
from stream.assembly import binary
from stream.noise import Noise, add_noise
from stream.paper_split import PaperSplit
from stream.seeds import derive_seed


def judged_by_split(split: PaperSplit, noise: Noise | None = None, seed: int = 0) -> HoldOut:
    """All users of train, with the split's validation interactions as the answers.

    Args:
        split: the log.
        noise: in the rows of train, which are fitted on and the contexts of validation; answers
            that it puts there are left out, and users who are left without one.
        seed: of the noise.
    """
    rows, asked = TrainingRows.of_users(split.train), split.validation
    users, targets = asked.users.astype(np.int64), asked.targets[:, : rows.num_items]
    if noise is None or noise.percent == 0:
        return HoldOut(rows, users, targets)
    noisy = add_noise(rows.interactions, noise, derive_seed(seed, "paper noise"))
    targets = binary(targets - targets.multiply(noisy[users]))
    left = np.flatnonzero(np.diff(targets.indptr))
    return HoldOut(replace(rows, interactions=noisy), users[left], targets[left])


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
