"""`PSP@k` and `PSPn@k`: hits weighted by the rarity of their items."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer

from perennial.replay.metrics.base import Collected, RankedBlock, UserShares

_A = 0.55
_B = 1.5


def propensity_weights(
    item_counts: Integer[np.ndarray, " num_items"],
) -> Float64[np.ndarray, " num_items"]:
    """Compute w_i = 1 + C (N_i + B)^(−A), C = (ln N − 1)(B + 1)^A (design note 5).

    `item_counts` are N_i ≥ 0, whose sum is N. Below N = e the formula's C would be negative; it is
    taken as 0. Weights are ≥ 1, the largest for items never seen.
    """
    total = max(int(item_counts.sum()), 1)
    scale = max(math.log(total) - 1.0, 0.0) * (_B + 1.0) ** _A
    weights: Float64[np.ndarray, " num_items"] = 1.0 + scale * (item_counts + _B) ** -_A
    return weights


def captured_share(block: RankedBlock, k: int) -> Float64[np.ndarray, " b"]:
    """Compute the weight of the hits among the k best, over the largest possible weight, in [0, 1].

    That is Σ over hits of w_i, over the sum of the min(k, number of targets) largest w among the
    user's targets.
    """
    weights = block.propensity_weights
    captured = np.where(block.hits[:, :k], weights[block.ranking[:, :k]], 0.0).sum(axis=1)
    offsets = block.targets.indptr
    lengths = np.diff(offsets)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    of_targets = weights[block.targets.indices]
    falling = of_targets[np.lexsort((-of_targets, rows))]
    among_largest = np.arange(len(rows)) - offsets[rows] < k
    largest = np.add.reduceat(np.where(among_largest, falling, 0.0), offsets[:-1])
    return np.asarray(captured / largest)


@dataclass(frozen=True)
class PSP(UserShares):
    """Propensity-scored precision as in the code of the paper's authors, per cent.

    (Σ over hits of w_i / m) / (Σ of the m largest w among the targets), m = min(k, number of
    targets). The division by m stands in the numerator only, so a perfect ranking gets 100 / m;
    `PSPn` leaves it out.
    """

    cutoffs: tuple[int, ...] = (10, 100)
    name = "PSP"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        assert k is not None  # noqa: S101
        reachable = np.minimum(k, np.diff(block.targets.indptr))
        return (captured_share(block, k) / reachable,)


@dataclass(frozen=True)
class PSPn(UserShares):
    """Σ over hits of w_i / Σ of the m largest w among the targets, per cent, mean over users.

    m = min(k, number of targets). Jain, Prabhu and Varma's PSP@k over its best value.
    """

    cutoffs: tuple[int, ...] = (10, 100)
    name = "PSPn"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute one share per user, `(b,)`."""
        assert k is not None  # noqa: S101
        return (captured_share(block, k),)
