"""`head-user`: the users with the most interactions."""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Take the longest of rows `(m, num_items)`; equally long ones in a random order."""
    keys = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, np.diff(rows.indptr) + keys, budget)
