"""`nDCG@k`: hits discounted by their rank, over those of a perfect ranking."""

from dataclasses import dataclass

import numpy as np

from perennial.models.ranking import ndcg
from perennial.replay.metrics.base import Collected, RankedBlock, UserShares


@dataclass(frozen=True)
class NDCG(UserShares):
    """Σ over hits of 1 / log2(rank + 1), over that of a perfect ranking, in per cent."""

    cutoffs: tuple[int, ...] = (10, 100)
    name = "nDCG"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        return (ndcg(block.hits[:, :k], np.diff(block.targets.indptr)),)
