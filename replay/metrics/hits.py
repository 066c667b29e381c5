"""`HR@k` and `nDCG@k`: hits among the k best items, as a share of the best possible."""

from dataclasses import dataclass

import numpy as np

from perennial.models.ranking import hit_rate, ndcg
from perennial.replay.metrics.base import Collected, RankedBlock, UserShares


@dataclass(frozen=True)
class HitRate(UserShares):
    """Hits / min(k, number of targets), per cent, mean over users."""

    cutoffs: tuple[int, ...] = (10, 100)
    name = "HR"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        return (hit_rate(block.hits[:, :k], np.diff(block.targets.indptr)),)


@dataclass(frozen=True)
class NDCG(UserShares):
    """Σ over hits of 1 / log2(rank + 1), over that of a perfect ranking, in per cent."""

    cutoffs: tuple[int, ...] = (10, 100)
    name = "nDCG"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        return (ndcg(block.hits[:, :k], np.diff(block.targets.indptr)),)
