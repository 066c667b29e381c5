"""`AUC`: the chance that a target outscores a sampled negative, all users' scores pooled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.metrics.protocol import Collected, RankedBlock, UserValues


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
        """The scores of the targets, their number per user, and the scores of the negatives."""
        lengths = np.diff(block.targets.indptr)
        rows, drawn = np.nonzero(block.negatives >= 0)
        return (
            target_scores(block),
            lengths,
            block.scores[rows, block.negatives[rows, drawn]],
        )

    def finish(self, collected: Collected) -> UserValues:
        """Placements among the pooled negatives."""
        scores, lengths, negatives = collected
        if len(scores) == 0 or len(negatives) == 0:
            return UserValues(values=np.zeros(len(lengths)), weights=np.zeros(len(lengths)))
        negatives = np.sort(negatives)
        below = np.searchsorted(negatives, scores, side="left")
        up_to = np.searchsorted(negatives, scores, side="right")
        placements = (below + up_to) / (2.0 * len(negatives))
        sums = np.add.reduceat(placements, np.cumsum(lengths) - lengths)
        return UserValues(values=sums / lengths, weights=lengths.astype(np.float64))


def target_scores(block: RankedBlock) -> NDArray[np.float32]:
    """The score of each target, user by user; −∞ for items that the model has not seen."""
    num_items = block.scores.shape[1]
    items = block.targets.indices
    rows = np.repeat(np.arange(len(block.scores)), np.diff(block.targets.indptr))
    seen = items < num_items
    scores = np.full(len(items), -np.inf, dtype=np.float32)
    scores[seen] = block.scores[rows[seen], items[seen]]
    return scores
