"""`PSPn@k`: hits weighted by how rare they are, 100 for a perfect ranking."""

from dataclasses import dataclass

from replay.metrics.propensity import captured_share
from replay.metrics.protocol import Collected, RankedBlock, UserValues


@dataclass(frozen=True)
class PSPn:
    """Σ over hits of w_i / Σ of the m largest w among the targets, per cent, mean over users.

    m = min(k, number of targets). Jain, Prabhu and Varma's PSP@k over its best value.
    """

    cutoffs: tuple[int, ...] = (10, 100)
    name = "PSPn"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """One share per user."""
        assert k is not None  # noqa: S101
        return (captured_share(block, k),)

    def finish(self, collected: Collected) -> UserValues:
        """Per cent, each user alike."""
        return UserValues.per_cent(collected[0])
