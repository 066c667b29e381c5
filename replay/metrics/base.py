"""The interface of metrics: ranked blocks in, a value and a weight per user out."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True)
class RankedBlock:
    """A block of users with the scores and the ranking of a model.

    Attributes:
        scores: raw, nothing is masked.
        ranking: the best items, best first, masked items left out; −1 where a user has fewer
            rankable items. `depth` is at least the largest k of any metric.
        targets: `(b, ≥ num_items)` binary rows; columns from `num_items` on are unknown items.
        negatives: sampled items, −1 where padded.
        propensity_weights: w_i = 1 / propensity of item i, of all items of `targets`.
    """

    scores: Float32[np.ndarray, "b num_items"]
    ranking: Int32[np.ndarray, "b depth"]
    hits: Bool[np.ndarray, "b depth"]
    targets: csr_array
    contexts: csr_array
    negatives: Int32[np.ndarray, "b drawn"]
    propensity_weights: Float64[np.ndarray, " all_items"]


Collected = tuple[NDArray[Any], ...]
"""Arrays that a metric collects of a block; those of all blocks are concatenated on axis 0."""


class Metric(Protocol):
    """A metric, collected block by block and finished for all users together.

    Most metrics collect one number per user and finish by scaling it; the pooled AUC collects the
    scores it needs of every user and ranks them all together at the end.
    """

    @property
    def name(self) -> str:
        """Name in reports: `HR`, `nDCG`, `PSP`, ..."""

    @property
    def cutoffs(self) -> tuple[int | None, ...]:
        """Cut-offs k that are reported; `(None,)` for a metric of the whole ranking."""

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute the arrays to keep of a block, of its users or their targets."""

    def finish(self, collected: Collected) -> "UserValues":
        """Compute values and weights from the arrays of all users, in order."""


@dataclass(frozen=True)
class UserValues:
    """A metric user by user, in the scale that is reported (per cent for HR, nDCG and PSP).

    The period's figure is Σ weight·value / Σ weight; weights are ≥ 0.
    """

    values: Float64[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]

    @classmethod
    def per_cent(cls, shares: Float64[np.ndarray, " n"]) -> "UserValues":
        """Return values in per cent of equally weighted users from shares in [0, 1]."""
        return cls(values=100.0 * shares, weights=np.ones(len(shares)))

    @property
    def mean(self) -> float:
        """Figure of the period; NaN if no user has a weight."""
        total = float(self.weights.sum())
        return float(self.values @ self.weights) / total if total > 0 else float("nan")


class UserShares:
    """Base of metrics that are one share per user, reported in per cent."""

    def finish(self, collected: Collected) -> UserValues:
        """Convert to per cent, with equal weights."""
        return UserValues.per_cent(collected[0])
