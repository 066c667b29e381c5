"""`user-rns` and `head-user`: users at random, or the most active, with all their interactions."""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first


def sample_random(rows: csr_array, budget: int, seed: int) -> Sample:
    """Take rows `(m, num_items)` with equal probability, also over several samples together."""
    priorities = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, priorities, budget)


def sample_longest(rows: csr_array, budget: int, seed: int) -> Sample:
    """Take the longest of rows `(m, num_items)`; equally long ones in a random order."""
    keys = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, np.diff(rows.indptr) + keys, budget)
