"""`PSP@k`: hits weighted by how rare they are, in the scale that the paper prints."""

from dataclasses import dataclass

import numpy as np

from replay.metrics.propensity import captured_share
from replay.metrics.protocol import Collected, RankedBlock, UserValues


@dataclass(frozen=True)
class PSP:
    """Propensity-scored precision as in the code of the paper's authors, per cent.

    (Σ over hits of w_i / m) / (Σ of the m largest w among the targets), m = min(k, number of
    targets). The division by m stands in the numerator only, so a perfect ranking gets 100 / m;
    `PSPn` leaves it out.
    """

    cutoffs: tuple[int, ...] = (10, 100)
    name = "PSP"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """One share per user."""
        assert k is not None  # noqa: S101
        reachable = np.minimum(k, np.diff(block.targets.indptr))
        return (captured_share(block, k) / reachable,)

    def finish(self, collected: Collected) -> UserValues:
        """Per cent, each user alike."""
        return UserValues.per_cent(collected[0])
