"""`HR@k`: hits among the k best items, as a share of the possible hits."""

from dataclasses import dataclass

import numpy as np

from perennial.models.ranking import hit_rate
from perennial.replay.metrics.base import Collected, RankedBlock, UserShares


@dataclass(frozen=True)
class HitRate(UserShares):
    """Hits / min(k, number of targets), per cent, mean over users."""

    cutoffs: tuple[int, ...] = (10, 100)
    name = "HR"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        return (hit_rate(block.hits[:, :k], np.diff(block.targets.indptr)),)
