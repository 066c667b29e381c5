"""`nDCG@k`: hits discounted by their rank, over those of a perfect ranking."""

from dataclasses import dataclass

import numpy as np

from perennial.models.ranking import ndcg
from perennial.replay.metrics.base import Collected, RankedBlock, UserValues


@dataclass(frozen=True)
class NDCG:
    """Σ over hits of 1 / log2(rank + 1), over that of a perfect ranking, in per cent."""

    cutoffs: tuple[int, ...] = (10, 100)
    name = "nDCG"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        return (ndcg(block.hits[:, :k], np.diff(block.targets.indptr)),)

    def finish(self, collected: Collected) -> UserValues:
        """Convert to per cent, with equal weights."""
        return UserValues.per_cent(collected[0])
