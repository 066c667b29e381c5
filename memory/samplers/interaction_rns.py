"""`interaction-rns`: random interactions, of as many users as the budget has rows.

Interactions are drawn one by one, each as likely as any other (Sachdeva et al., WSDM 2022, have a
share of the interactions, whatever the number of users). The first B users met are the rows;
interactions of others are passed over. It ends with as many interactions as `user-rns` would keep
on average, B times the mean length of a row, or when there are no more. So active users are
likelier to be met, and rows hold a part of what their users did.
"""

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, thin


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Priority: the luck of the user's first interaction that is drawn."""
    lengths = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    luck = np.random.default_rng(seed).random(len(owner))
    best = np.full(rows.shape[0], -1.0)
    np.maximum.at(best, owner, luck)
    filled = int((lengths > 0).sum())
    met = np.argsort(-best, kind="stable")[: min(budget, filled)]
    lucky = csr_array((luck, rows.indices, rows.indptr), shape=rows.shape)
    part = thin(lucky[met], round(len(met) * len(owner) / max(filled, 1)))
    return Sample(part, met.astype(np.int64), best[met], extent=(filled, len(owner)))
