"""`AUC` and `AUCu`: probability that a target outscores another item, pooled or per user."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from perennial.replay.metrics.base import Collected, RankedBlock, UserValues


@dataclass(frozen=True)
class AUC:
    """Area under the ROC curve as in the code of the paper's authors, in [0, 1].

    Raw, unmasked scores of all users' targets against those of all users' sampled negatives. A
    target that the model has not seen scores below everything; equal scores count half. A user's
    value is the mean placement of their targets among the pooled negatives and their weight the
    number of targets, so that Σ weight·value / Σ weight is exactly the pooled area.
    """

    cutoffs: tuple[None, ...] = (None,)
    name = "AUC"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Collect scores of the targets, their number per user, and scores of the negatives."""
        lengths = np.diff(block.targets.indptr)
        rows, drawn = np.nonzero(block.negatives >= 0)
        return (target_scores(block), lengths, block.scores[rows, block.negatives[rows, drawn]])

    def finish(self, collected: Collected) -> UserValues:
        """Compute placements among the pooled negatives."""
        scores, lengths, negatives = collected
        if len(scores) == 0 or len(negatives) == 0:
            return UserValues(values=np.zeros(len(lengths)), weights=np.zeros(len(lengths)))
        negatives = np.sort(negatives)
        below = np.searchsorted(negatives, scores, side="left")
        up_to = np.searchsorted(negatives, scores, side="right")
        placements = (below + up_to) / (2.0 * len(negatives))
        sums = np.add.reduceat(placements, np.cumsum(lengths) - lengths)
        return UserValues(values=sums / lengths, weights=lengths.astype(np.float64))


def target_scores(block: RankedBlock) -> Float32[np.ndarray, " targets"]:
    """Return the score of each target, user by user; −∞ for unknown items."""
    num_items = block.scores.shape[1]
    items = block.targets.indices
    rows = np.repeat(np.arange(len(block.scores)), np.diff(block.targets.indptr))
    seen = items < num_items
    scores = np.full(len(items), -np.inf, dtype=np.float32)
    scores[seen] = block.scores[rows[seen], items[seen]]
    return scores


@dataclass(frozen=True)
class AUCu:
    """Area under the ROC curve of each user, in [0, 1], mean over users.

    Raw scores of the user's targets against those of every item that the model can score outside
    the user's context and targets, whether or not the context is masked in the ranking. A target
    that the model has not seen scores below everything; equal scores count half. A user without any
    such other item has no value and weight 0.
    """

    cutoffs: tuple[None, ...] = (None,)
    name = "AUCu"

    def collect(self, block: RankedBlock, k: int | None) -> Collected:
        """Compute the mean placement per user, and whether there is any other item."""
        others = _others(block)
        num_others = np.isfinite(others).sum(axis=1)
        others.sort(axis=1)
        lengths = np.diff(block.targets.indptr)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        scores = target_scores(block)
        below = _count_below(others, rows, scores, num_others, ties=False)
        up_to = _count_below(others, rows, scores, num_others, ties=True)
        sums = np.add.reduceat((below + up_to) / 2.0, block.targets.indptr[:-1])
        has_value = num_others > 0
        return sums / (lengths * np.maximum(num_others, 1)), has_value

    def finish(self, collected: Collected) -> UserValues:
        """Weight all users that have a value equally."""
        values, has_value = collected
        return UserValues(values=values, weights=has_value.astype(np.float64))


def _others(block: RankedBlock) -> Float32[np.ndarray, "b num_items"]:
    """Return the scores with contexts and targets at +∞, to be sorted last."""
    others = block.scores.copy()
    num_items = others.shape[1]
    for rows_of in (block.contexts, block.targets):
        rows = np.repeat(np.arange(len(others)), np.diff(rows_of.indptr))
        known = rows_of.indices < num_items
        others[rows[known], rows_of.indices[known]] = np.inf
    return others


def _count_below(
    ordered: Float32[np.ndarray, "b num_items"],
    rows: Int[np.ndarray, " n"],
    scores: Float32[np.ndarray, " n"],
    lengths: Int[np.ndarray, " b"],
    ties: bool,
) -> Int[np.ndarray, " n"]:
    """Count the entries below each score in its sorted row, by bisection of all at once.

    Each row of `ordered` is ascending, and `lengths` of its entries count; with `ties` entries
    equal to the score count as below.
    """
    low = np.zeros(len(rows), dtype=np.intp)
    high = lengths[rows]
    while np.any(low < high):
        middle = (low + high) // 2
        probe = ordered[rows, np.minimum(middle, ordered.shape[1] - 1)]
        is_below = (probe <= scores if ties else probe < scores) & (low < high)
        low = np.where(is_below, middle + 1, low)
        high = np.where(is_below, high, middle)
    return low
