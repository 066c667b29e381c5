"""From contexts and targets to an `Evaluation`: masking, unseen items, counts and negatives."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from stream.evaluation import Evaluation, EvaluationCounts
from stream.negatives import draw_negatives
from stream.seeds import derive_seed


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
    keep_repeats: bool = False,
) -> Evaluation:
    """Apply the rules that all protocols share.

    Args:
        fit_period: t.
        eval_period: the period asked about.
        num_items: d_t; columns from here on are unknown to the model.
        users: `(n,)` int32.
        contexts: `(n, width)` binary with width ≥ `num_items`, unknown items included.
        targets: `(n, width)` binary.
        item_counts: `(width,)` int64.
        mask_context: remove targets that stand in the context, and users left without a target.
        num_negatives: drawn per user from the known items outside context and targets.
        seed: the negatives and the order of ties derive from it and `fit_period`.
        skipped_users: those left out already.
        keep_repeats: masked targets that stand in the context stay, as misses.
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
    """A binary matrix with an entry per distinct pair."""
    ones = np.ones(len(rows), dtype=np.float32)
    return binary(csr_array((ones, (rows, items)), shape=shape))


def binary(matrix: csr_array) -> csr_array:
    """The same pattern without stored zeros, in canonical form: float32 ones, int32 indices."""
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
