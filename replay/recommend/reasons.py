"""Explanation of a recommendation by training rows, without the users they come from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.infinite_ae.explanations import Explanation
from perennial.replay.recommend.catalogue import Catalogue

NUM_REASONS = 3
"""Rows shown per item."""

NUM_SHARED = 3
"""Common items named per row."""

Kind = Literal["remembered", "newest", "user", "unknown"]
"""A row of the memory, a user of the newest period, a user of any period, or one of these."""


@dataclass(frozen=True)
class CommonItem:
    """An item that the context and a training row have in common."""

    item: str | int
    title: str | None


@dataclass(frozen=True)
class Reason:
    """A training row that raises the score of an item; its user is not named.

    Attributes:
        row: rank of the row by contribution, from 1.
        contribution: part of the score that comes from the row; all rows together sum to the score.
        share: contribution as a share of all positive contributions, in [0, 1].
        similarity: normalised kernel between row and context, 1 for the same items.
    """

    row: int
    contribution: float
    share: float
    similarity: float
    kind: Kind
    shared: tuple[CommonItem, ...]
    num_shared: int


def find_reasons(
    explanation: Explanation, context: csr_array, catalogue: Catalogue, *, on_newest: bool
) -> tuple[tuple[Reason, ...], ...]:
    """Select for each item at most `NUM_REASONS` rows that contribute most, the largest first.

    Only positive contributions count. The context is `(1, num_items)` binary. `on_newest`: the rows
    of real users are those of the newest period.
    """
    rows = explanation.rows
    counts = np.bincount(rows.indices, minlength=rows.shape[1])
    in_context = np.zeros(rows.shape[1], np.bool_)
    in_context[context.indices] = True

    def describe(row: int, rank: int, contributions: NDArray[np.float64]) -> Reason:
        items = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
        common = items[in_context[items]]
        rarest = common[np.argsort(counts[common], kind="stable")][:NUM_SHARED]
        names = [catalogue.item_ids[item] for item in rarest.tolist()]
        contribution = float(contributions[row])
        return Reason(
            row=rank,
            contribution=contribution,
            share=contribution / float(contributions[contributions > 0].sum()),
            similarity=float(explanation.similarity[row]),
            kind=_kind(explanation.replayed, row, on_newest),
            shared=tuple(CommonItem(name, catalogue.title(name)) for name in names),
            num_shared=len(common),
        )

    reasons = []
    for contributions in explanation.contributions:
        best = _largest(contributions, NUM_REASONS)
        positive = best[contributions[best] > 0].tolist()
        reasons.append(
            tuple(describe(row, rank, contributions) for rank, row in enumerate(positive, start=1))
        )
    return tuple(reasons)


def _largest(values: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Return the positions of the largest values, largest first; of equal values the earlier."""
    if len(values) > number:
        least = np.partition(values, len(values) - number)[len(values) - number]
        positions = np.flatnonzero(values >= least)
    else:
        positions = np.arange(len(values))
    return positions[np.argsort(-values[positions], kind="stable")][:number]


def _kind(replayed: NDArray[np.bool_] | None, row: int, on_newest: bool) -> Kind:
    if replayed is None:
        return "unknown"
    if replayed[row]:
        return "remembered"
    return "newest" if on_newest else "user"
