"""`head-user`: the users who did most."""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """The longest rows; equal ones in a seeded order."""
    luck = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, np.diff(rows.indptr) + luck, budget)
