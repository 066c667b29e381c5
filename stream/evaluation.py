"""An evaluation: contexts of users, their held-out targets, negatives, and what was left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.base import derive_seed
from perennial.stream.negatives import draw_negatives


@dataclass(frozen=True)
class EvaluationCounts:
    """Numbers of skipped users, and of dropped and unseen items, of an `Evaluation`.

    Attributes:
        skipped_users: users of the period with an empty context, or whose targets are all in it.
        without_context: the former of these.
        empty_contexts: evaluated users whose context row is empty.
        dropped_context_items: (user, item) pairs of the evaluated users' contexts whose item the
            model has not seen.
        masked_targets: distinct (user, item) targets removed because they are in the context,
            including those of users who were skipped for this reason.
        targets: distinct (user, item) targets that are evaluated.
        unseen_targets: number of these whose item the model has not seen; they count as misses.
    """

    skipped_users: int
    without_context: int
    empty_contexts: int
    dropped_context_items: int
    masked_targets: int
    targets: int
    unseen_targets: int


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, the same for every strategy and model (design note 5).

    Attributes:
        fit_period: t, the last period a model may see.
        eval_period: the period with the targets, usually t + 1.
        num_items: d_t, the items known at t; models score exactly these.
        users: `(n,)` int32, dense indices of the evaluated users.
        contexts: `(n, num_items)` float32 binary.
        targets: `(n, ≥ num_items)` float32 binary, each row with at least one entry; columns from
            `num_items` on are items unknown at t.
        mask_context: whether the items of the context are excluded from the ranking.
        negatives: `(n, 50)` int32 items outside context and targets, for the pooled AUC; −1 pads a
            row whose catalogue has fewer.
        item_counts: `(≥ num_items,)` int64, events per item in periods ≤ t (0 for unknown items),
            for the propensities; as wide as `targets`.
        tie_seed: seed of the order in which equal scores are ranked.
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


def assemble(
    *,
    fit_period: int,
    eval_period: int,
    num_items: int,
    users: NDArray[np.int32],
    contexts: csr_array,
    targets: csr_array,
    item_counts: NDArray[np.int64],
    mask_context: bool,
    num_negatives: int,
    seed: int,
    skipped_users: int,
    without_context: int = 0,
    keep_repeats: bool = False,
) -> Evaluation:
    """Build an evaluation from contexts and targets by the rules that all protocols share.

    Users are `(n,)` int32, contexts and targets `(n, width)` float32 binary, unknown items
    included, width ≥ `num_items` = d_t, and item counts `(width,)` int64. `mask_context` removes
    targets that are in the context, and users left without a target; `keep_repeats` keeps such
    targets, as misses. Negatives are drawn from the known items outside context and targets; they
    and the order of ties derive from `seed` and `fit_period`. `skipped_users` were left out
    already, `without_context` of them without a context.
    """
    masked_targets = 0
    if mask_context and not keep_repeats:
        repeated = targets.multiply(contexts)
        masked_targets = int(repeated.count_nonzero())
        targets = binary(targets - repeated)
        left = np.flatnonzero(np.diff(targets.indptr))
        skipped_users += len(users) - len(left)
        users, contexts, targets = users[left], contexts[left], targets[left]
    known = binary(contexts[:, :num_items])
    counts = EvaluationCounts(
        skipped_users=skipped_users,
        without_context=without_context,
        empty_contexts=int(np.count_nonzero(np.diff(known.indptr) == 0)),
        dropped_context_items=int(contexts.nnz - known.nnz),
        masked_targets=masked_targets,
        targets=int(targets.nnz),
        unseen_targets=int(np.count_nonzero(targets.indices >= num_items)),
    )
    return Evaluation(
        fit_period=fit_period,
        eval_period=eval_period,
        num_items=num_items,
        users=users,
        contexts=known,
        targets=targets,
        mask_context=mask_context,
        negatives=draw_negatives(
            binary(known + targets[:, :num_items]),
            num_negatives,
            derive_seed(seed, fit_period, "negatives"),
        ),
        item_counts=item_counts,
        tie_seed=derive_seed(seed, fit_period, "ties"),
        counts=counts,
    )


def pair_matrix(
    rows: NDArray[np.integer], items: NDArray[np.integer], shape: tuple[int, int]
) -> csr_array:
    """Build a matrix, as of `binary`, with one entry per distinct pair of `(n,)` rows and items."""
    ones = np.ones(len(rows), dtype=np.float32)
    return binary(csr_array((ones, (rows, items)), shape=shape))


def binary(matrix: csr_array) -> csr_array:
    """Set all non-zero entries to 1: same shape, canonical form, float32 values, int32 indices."""
    matrix = csr_array(matrix, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return csr_array(
        (
            np.ones(matrix.nnz, dtype=np.float32),
            matrix.indices.astype(np.int32, copy=False),
            matrix.indptr.astype(np.int32, copy=False),
        ),
        shape=matrix.shape,
    )
