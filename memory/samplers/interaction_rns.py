"""`interaction-rns`: random interactions, of as many users as the budget has rows.

Interactions are drawn one by one, each as likely as any other. The first B users met are the rows;
interactions of others are passed over. It ends with as many interactions as `user-rns` would keep
on average, B times the mean length of a row, or when there are no more. So active users are
likelier to be met, and rows hold a part of what their users did.
"""

import numpy as np
from scipy.sparse import csr_array

from memory.samplers.protocol import Sample


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Priority: the luck of the user's first interaction that is drawn."""
    lengths = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    luck = np.random.default_rng(seed).random(len(owner))
    best = np.full(rows.shape[0], -1.0)
    np.maximum.at(best, owner, luck)
    met = np.argsort(-best, kind="stable")[: min(budget, int((lengths > 0).sum()))]
    is_met = np.zeros(rows.shape[0], dtype=np.bool_)
    is_met[met] = True
    candidates = np.flatnonzero(is_met[owner])
    filled = max(1, int((lengths > 0).sum()))
    wanted = max(len(met), round(len(met) * len(owner) / filled))
    # A user is met by the luckiest interaction, which is therefore always kept.
    first = luck[candidates] == best[owner[candidates]]
    drawn = candidates[np.lexsort((-luck[candidates], ~first))][:wanted]
    kept = np.zeros(len(owner), dtype=np.bool_)
    kept[drawn] = True
    offsets = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    part = csr_array((rows.data[kept], rows.indices[kept], offsets), shape=rows.shape)
    return Sample(part[met], met.astype(np.int64), best[met])
