"""Interactions held out of the training rows, and the validation score of a model on them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import Holdout, TrainingRows
from perennial.models.ranking import find_hits, hit_rate, ndcg, top_items

ValidationMetric = Literal["HR", "nDCG"]
"""Metric of a validation: hit rate or normalised discounted cumulative gain."""


def hold_out(
    rows: TrainingRows, seed: int, share: float = 0.1, max_users: int | None = None
) -> Holdout:
    """Hold out a share of the interactions of the real rows, at random.

    Replayed rows are never touched, each row keeps at least one interaction, and rows with fewer
    than two keep what they have (design note 5).

    Args:
        rows: the rows of a fit.
        seed: of the draw.
        share: share of the interactions of the real rows that have at least two, in (0, 1).
        max_users: largest number of validation rows, a seeded sample; what is held out of the
            others stays held out, so that the score estimates the one over all rows.
    """
    matrix = rows.interactions
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    generator = np.random.default_rng(seed)
    taken = _draw_entries(matrix, ~rows.replayed, generator, share)
    targets = _select_entries(matrix, taken)
    targets.data[:] = 1.0
    users = np.flatnonzero(np.diff(targets.indptr)).astype(np.int64)
    if max_users is not None and len(users) > max_users:
        users = np.sort(generator.choice(users, size=max_users, replace=False))
    return Holdout(
        training=replace(rows, interactions=_select_entries(matrix, ~taken)),
        users=users,
        targets=targets[users],
    )


def validation_score(
    score_blocks: Iterable[NDArray[np.float32]],
    holdout: Holdout,
    metric: ValidationMetric,
    k: int = 100,
    tie_seed: int = 0,
) -> float:
    """Compute the mean `HR` or `nDCG` at k of the validation rows in per cent; NaN without any.

    Each row's own training items are left out of its ranking. `score_blocks` are `(≤ block,
    num_items)` float32 scores of `holdout.contexts`, in order; `tie_seed` orders equal scores.

    Raises:
        UserError: a score is NaN or infinite.
        ValueError: the blocks have another number of rows than there are validation rows.
    """
    contexts = holdout.contexts
    measure = {"HR": hit_rate, "nDCG": ndcg}[metric]
    num_targets = np.diff(holdout.targets.indptr)
    values: list[NDArray[np.float64]] = []
    start = 0
    for scores in score_blocks:
        stop = start + len(scores)
        ranking = top_items(scores, contexts[start:stop], k, tie_seed)
        hits = find_hits(ranking, holdout.targets[start:stop])
        values.append(measure(hits, num_targets[start:stop]))
        start = stop
    if start != len(holdout.users):
        raise ValueError(f"scores of {start} rows, but {len(holdout.users)} validation rows")
    return 100.0 * float(np.concatenate(values).mean()) if start else float("nan")


def _draw_entries(
    matrix: csr_array, real: NDArray[np.bool_], generator: np.random.Generator, share: float
) -> NDArray[np.bool_]:
    """Mark the entries to hold out: those with the lowest of one random key per entry."""
    lengths = np.diff(matrix.indptr)
    eligible = np.repeat(real & (lengths >= 2), lengths)
    keys = generator.random(len(matrix.indices))
    filled = np.flatnonzero(lengths)
    if len(filled):
        highest = np.maximum.reduceat(keys, matrix.indptr[filled])
        kept = keys == np.repeat(highest, lengths[filled])
    else:
        kept = np.zeros(0, dtype=np.bool_)
    candidates = np.flatnonzero(eligible & ~kept)
    wanted = min(max(1, round(share * int(eligible.sum()))), len(candidates))
    taken = np.zeros(len(keys), dtype=np.bool_)
    if wanted:
        order = np.argpartition(keys[candidates], wanted - 1)
        taken[candidates[order[:wanted]]] = True
    return taken


def _select_entries(matrix: csr_array, entries: NDArray[np.bool_]) -> csr_array:
    """Return a matrix of the same shape with only the marked entries."""
    before = np.concatenate([[0], np.cumsum(entries)])
    return csr_array(
        (matrix.data[entries], matrix.indices[entries], before[matrix.indptr].astype(np.int32)),
        shape=matrix.shape,
    )
