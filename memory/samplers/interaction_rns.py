"""`interaction-rns`: random interactions, of as many users as the budget has rows.

Interactions are drawn one by one with equal probability (Sachdeva et al., WSDM 2022, draw a share
of the interactions, whatever the number of users). The first B users drawn are the rows;
interactions of others are skipped. It ends with as many interactions as `user-rns` keeps on
average, B times the mean length of a row, or when there are no more. Active users are therefore
more likely to be drawn, and rows have only a part of their users' interactions.
"""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, thin


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Sample rows `(m, num_items)` by the largest of the random keys of their interactions."""
    lengths = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    keys = np.random.default_rng(seed).random(len(owner))
    best = np.full(rows.shape[0], -1.0)
    np.maximum.at(best, owner, keys)
    filled = int((lengths > 0).sum())
    chosen = np.argsort(-best, kind="stable")[: min(budget, filled)]
    keyed = csr_array((keys, rows.indices, rows.indptr), shape=rows.shape)
    part = thin(keyed[chosen], round(len(chosen) * len(owner) / max(filled, 1)))
    return Sample(part, chosen.astype(np.int64), best[chosen], extent=(filled, len(owner)))
