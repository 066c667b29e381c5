"""Weights that undo popularity, and how much weight a ranking captures.

Jain, Prabhu and Varma, "Extreme multi-label loss functions", KDD 2016: an item seen often is also
seen more often than it is liked, by a factor that its count tells.
"""

import math

import numpy as np
from numpy.typing import NDArray

from replay.metrics.protocol import RankedBlock

_A = 0.55
_B = 1.5


def propensity_weights(item_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """w_i = 1 + C (N_i + B)^(−A) with C = (ln N − 1)(B + 1)^A, A = 0.55, B = 1.5 (design note 5).

    Args:
        item_counts: `(num_items,)`, N_i ≥ 0, whose sum is N. Below N = e the formula's C would be
            negative; it is taken as 0.

    Returns:
        `(num_items,)` float64 ≥ 1, the largest for items never seen.
    """
    total = max(int(item_counts.sum()), 1)
    scale = max(math.log(total) - 1.0, 0.0) * (_B + 1.0) ** _A
    weights: NDArray[np.float64] = 1.0 + scale * (item_counts + _B) ** -_A
    return weights


def captured_share(block: RankedBlock, k: int) -> NDArray[np.float64]:
    """Weight of the hits among the k best, over the most that any k items could carry.

    Returns:
        `(b,)` float64 in [0, 1]: Σ over hits of w_i, over the sum of the min(k, number of targets)
        largest w among the user's targets.
    """
    weights = block.propensity_weights
    hits = block.hits[:, :k]
    captured = np.where(hits, weights[block.ranking[:, :k]], 0.0).sum(axis=1)
    return np.asarray(captured / _largest_sums(block, k))


def _largest_sums(block: RankedBlock, k: int) -> NDArray[np.float64]:
    """Sum of the k largest weights among each user's targets."""
    offsets = block.targets.indptr
    lengths = np.diff(offsets)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    weights = block.propensity_weights[block.targets.indices]
    falling = weights[np.lexsort((-weights, rows))]
    among_largest = np.arange(len(rows)) - offsets[rows] < k
    return np.add.reduceat(np.where(among_largest, falling, 0.0), offsets[:-1])
