"""Which training rows speak for an item, without saying whose they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.infinite_ae.explanations import Explanation
from perennial.replay.recommend.catalogue import Catalogue

NUM_REASONS = 3
"""Rows that are told of, per item."""

NUM_SHARED = 3
"""Items shared with the asker that are named, per row."""

Kind = Literal["remembered", "newest", "user", "unknown"]
"""A row of the memory, a user of the newest period, a user of any period, or one of these."""


@dataclass(frozen=True)
class CommonItem:
    """An item that the asker and a row have in common."""

    item: str | int
    title: str | None


@dataclass(frozen=True)
class Reason:
    """A training row that speaks for an item; whose it is stays untold.

    Attributes:
        row: 1 for the one that contributes most, and so on.
        contribution: what it adds to the score; all rows together make the score.
        share: of all that rows add where they add, in [0, 1].
        similarity: the normalised kernel with the asker, 1 for the same items.
        kind: what the row is.
        shared: items it has in common with the asker, rarest first, at most `NUM_SHARED`.
        num_shared: how many it has in common.
    """

    row: int
    contribution: float
    share: float
    similarity: float
    kind: Kind
    shared: tuple[CommonItem, ...]
    num_shared: int


def find_reasons(
    explanation: Explanation, context: csr_array, known: Catalogue, *, on_newest: bool
) -> tuple[tuple[Reason, ...], ...]:
    """The rows that contribute most, item by item.

    Args:
        explanation: of some items.
        context: `(1, num_items)` of the asker.
        known: names and titles.
        on_newest: whether the rows of real users are those of the newest period.

    Returns:
        For each item at most `NUM_REASONS`, largest contribution first, positive ones only.
    """
    counts = np.bincount(explanation.rows.indices, minlength=explanation.rows.shape[1])
    asked = np.zeros(explanation.rows.shape[1], np.bool_)
    asked[context.indices] = True
    found = []
    for added in explanation.contributions:
        best = _largest(added, NUM_REASONS)
        for_it = float(added[added > 0].sum())
        reasons = []
        for place, row in enumerate(best[added[best] > 0].tolist(), start=1):
            common = _common(explanation.rows, row, asked, counts)
            names = [known.item_ids[item] for item in common[:NUM_SHARED]]
            reasons.append(
                Reason(
                    row=place,
                    contribution=float(added[row]),
                    share=float(added[row]) / for_it,
                    similarity=float(explanation.similarity[row]),
                    kind=_kind(explanation.replayed, row, on_newest),
                    shared=tuple(CommonItem(name, known.title(name)) for name in names),
                    num_shared=len(common),
                )
            )
        found.append(tuple(reasons))
    return tuple(found)


def _largest(values: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Places of the largest values, largest first; of equal ones the earlier."""
    if len(values) > number:
        least = np.partition(values, len(values) - number)[len(values) - number]
        places = np.flatnonzero(values >= least)
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")][:number]


def _common(
    rows: csr_array, row: int, asked: NDArray[np.bool_], counts: NDArray[np.intp]
) -> list[int]:
    """Items of a row that are asked with too, those of the fewest rows first."""
    own = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
    common = own[asked[own]]
    order = np.argsort(counts[common], kind="stable")
    chosen: list[int] = common[order].tolist()
    return chosen


def _kind(replayed: NDArray[np.bool_] | None, row: int, on_newest: bool) -> Kind:
    if replayed is None:
        return "unknown"
    if replayed[row]:
        return "remembered"
    return "newest" if on_newest else "user"
