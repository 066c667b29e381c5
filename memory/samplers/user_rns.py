"""`user-rns`: random users with all their interactions."""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Take rows `(m, num_items)` with equal probability, also over several samples together."""
    priorities = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, priorities, budget)
