"""What a model is asked about the next period, and the true answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True)
class EvaluationCounts:
    """What was skipped, dropped or out of reach while an `Evaluation` was built.

    Attributes:
        skipped_users: users of the period with nothing in their context, or with no target left
            once those in the context are removed.
        empty_contexts: evaluated users whose context row is empty.
        dropped_context_items: (user, item) pairs of the evaluated users' contexts whose item the
            model has not seen.
        masked_targets: distinct (user, item) targets removed because they stand in the context;
            those of users who were skipped for it are among them.
        targets: distinct (user, item) targets that are judged.
        unseen_targets: those of them whose item the model has not seen; they count as misses.
    """

    skipped_users: int
    empty_contexts: int
    dropped_context_items: int
    masked_targets: int
    targets: int
    unseen_targets: int


@dataclass(frozen=True)
class Evaluation:
    """One next-period test, the same for every strategy and model (design note 5).

    Attributes:
        fit_period: t, the last period a model may see.
        eval_period: t + 1, the period it is judged on.
        num_items: d_t, the items known at t; models score exactly these.
        users: `(n,)` int32, the judged users by vocabulary index.
        contexts: `(n, num_items)` float32 binary.
        targets: `(n, ≥ num_items)` float32 binary, each row with at least one entry; columns from
            `num_items` on are items unknown at t.
        mask_context: whether the items of the context are excluded from the ranking.
        negatives: `(n, 50)` int32 items outside context and targets, for the pooled AUC; −1 pads a
            row whose catalogue has fewer.
        item_counts: `(≥ num_items,)` int64, events per item in periods ≤ t (0 for unknown items),
            for the propensities; as wide as `targets`.
        tie_seed: seed of the order in which equal scores are ranked.
        counts: what was skipped or dropped.
    """

    fit_period: int
    eval_period: int
    num_items: int
    users: NDArray[np.int32]
    contexts: csr_array
    targets: csr_array
    mask_context: bool
    negatives: NDArray[np.int32]
    item_counts: NDArray[np.int64]
    tie_seed: int
    counts: EvaluationCounts
