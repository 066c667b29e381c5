"""Interactions held out of the training rows, on which a model chooses what it has to choose."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.models.ranking import find_hits, hit_rate, ndcg, top_items

ValidationMetric = Literal["HR", "nDCG"]
"""What may be maximised: hit rate or normalised discounted cumulative gain."""


@dataclass(frozen=True)
class HoldOut:
    """Training rows less some interactions, and those interactions as the answers.

    Attributes:
        training: the rows that were given, in the same order, without what is held out.
        users: `(v,)` int64, numbers of the rows that are judged, ascending.
        targets: `(v, num_items)` float32 binary, what was taken from each of them; none is empty.
        apart: `(v, num_items)` float32 binary, the contexts where those who are judged are no
            training rows, as with a summary of them; `users` then numbers the rows they come from.
    """

    training: TrainingRows
    users: NDArray[np.int64]
    targets: csr_array
    apart: csr_array | None = None

    @property
    def contexts(self) -> csr_array:
        """`(v, num_items)` what is left of each judged row: what a model scores and masks."""
        return self.training.interactions[self.users] if self.apart is None else self.apart

    def take(self, chosen: NDArray[np.int64]) -> "HoldOut":
        """Judge only those at these places, `(c,)` ascending."""
        return replace(
            self,
            users=self.users[chosen],
            targets=self.targets[chosen],
            apart=None if self.apart is None else self.apart[chosen],
        )


def hold_out(
    rows: TrainingRows, seed: int, share: float = 0.1, max_users: int | None = None
) -> HoldOut:
    """Take a share of the interactions of the real rows away, at random.

    Replayed rows are never touched, each row keeps at least one interaction, and rows with fewer
    than two keep what they have (design note 5).

    Args:
        rows: the rows of a fit.
        seed: of the draw.
        share: of the interactions of the real rows that have at least two, in (0, 1).
        max_users: judge at most so many rows, a seeded sample; what was taken from the others stays
            taken, so that the score estimates the one over all rows.
    """
    matrix = rows.interactions
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    generator = np.random.default_rng(seed)
    taken = _draw(matrix, ~rows.replayed, generator, share)
    targets = _select(matrix, taken)
    targets.data[:] = 1.0
    users = np.flatnonzero(np.diff(targets.indptr)).astype(np.int64)
    if max_users is not None and len(users) > max_users:
        users = np.sort(generator.choice(users, size=max_users, replace=False))
    return HoldOut(
        training=replace(rows, interactions=_select(matrix, ~taken)),
        users=users,
        targets=targets[users],
    )


def validation_score(
    score_blocks: Iterable[NDArray[np.float32]],
    hold_out: HoldOut,
    metric: ValidationMetric,
    k: int = 100,
    tie_seed: int = 0,
) -> float:
    """Mean over the judged rows, with each row's own training items left out of the ranking.

    Args:
        score_blocks: `(≤ block, num_items)` float32 scores of `hold_out.contexts`, in order.
        hold_out: who is judged, on what.
        metric: `HR` or `nDCG`.
        k: length of the ranking.
        tie_seed: seed of the order of equal scores.

    Returns:
        Per cent; NaN if nobody is judged.

    Raises:
        UserError: a score is NaN or infinite.
        ValueError: the blocks have more or fewer rows than are judged.
    """
    contexts = hold_out.contexts
    measure = {"HR": hit_rate, "nDCG": ndcg}[metric]
    num_targets = np.diff(hold_out.targets.indptr)
    values: list[NDArray[np.float64]] = []
    start = 0
    for scores in score_blocks:
        stop = start + len(scores)
        ranking = top_items(scores, contexts[start:stop], k, tie_seed)
        hits = find_hits(ranking, hold_out.targets[start:stop])
        values.append(measure(hits, num_targets[start:stop]))
        start = stop
    if start != len(hold_out.users):
        raise ValueError(f"scores of {start} rows, but {len(hold_out.users)} rows are judged")
    return 100.0 * float(np.concatenate(values).mean()) if start else float("nan")


def _draw(
    matrix: csr_array, real: NDArray[np.bool_], generator: np.random.Generator, share: float
) -> NDArray[np.bool_]:
    """Mark the entries to take: the lowest of one random number per entry."""
    lengths = np.diff(matrix.indptr)
    eligible = np.repeat(real & (lengths >= 2), lengths)
    luck = generator.random(len(matrix.indices))
    filled = np.flatnonzero(lengths)
    if len(filled):
        highest = np.maximum.reduceat(luck, matrix.indptr[filled])
        kept = luck == np.repeat(highest, lengths[filled])
    else:
        kept = np.zeros(0, dtype=np.bool_)
    candidates = np.flatnonzero(eligible & ~kept)
    wanted = min(max(1, round(share * int(eligible.sum()))), len(candidates))
    taken = np.zeros(len(luck), dtype=np.bool_)
    if wanted:
        order = np.argpartition(luck[candidates], wanted - 1)
        taken[candidates[order[:wanted]]] = True
    return taken


def _select(matrix: csr_array, entries: NDArray[np.bool_]) -> csr_array:
    """A matrix of the same shape with only the marked entries."""
    before = np.concatenate([[0], np.cumsum(entries)])
    return csr_array(
        (matrix.data[entries], matrix.indices[entries], before[matrix.indptr].astype(np.int32)),
        shape=matrix.shape,
    )
