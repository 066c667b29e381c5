"""`user-rns`: random users with all they did."""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Every row is as likely as any other, over several samples together too."""
    luck = np.random.default_rng(seed).random(rows.shape[0])
    return take_first(rows, luck, budget)
