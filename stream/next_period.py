"""What is asked about the next period: the two next-period protocols (design note 5)."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import (
    Events,
    count_known_items,
    read_events,
    read_item_counts,
    read_rows,
)
from perennial.storage.store import Store
from perennial.stream.evaluation import Evaluation, assemble, binary, pair_matrix
from perennial.stream.history import HeldOutUsers

ProtocolName = Literal["fold-in", "returning"]
"""`fold-in`: the start of what a user does in the next period is part of the question.
`returning`: only what is known from the periods before is."""


@dataclass(frozen=True)
class ProtocolSettings:
    """How a model is asked about the next period.

    Attributes:
        protocol: `fold-in` or `returning`.
        context_share: fold-in: share of a user's interactions in the next period, the first in
            time, that is context; the rest, at least one, are targets.
        mask_context: leave the context's items out of the ranking, and out of the targets.
        num_negatives: sampled per user for the pooled AUC.
    """

    protocol: ProtocolName = "fold-in"
    context_share: float = 0.8
    mask_context: bool = True
    num_negatives: int = 50

    def __post_init__(self) -> None:
        if self.protocol not in get_args(ProtocolName):
            names = ", ".join(get_args(ProtocolName))
            raise UserError(f"unknown protocol '{self.protocol}'; choose from {names}")
        if not 0.0 <= self.context_share < 1.0:
            raise UserError(f"context share {self.context_share} is not in [0, 1)")
        if self.num_negatives < 1:
            raise UserError(f"{self.num_negatives} negatives per user; at least 1 is needed")


def build_evaluation(
    store: Store,
    fit_period: int,
    settings: ProtocolSettings,
    seed: int,
    *,
    eval_period: int | None = None,
    only: HeldOutUsers | None = None,
) -> Evaluation:
    """Ask about a period, the same of every strategy and model.

    The context of a user is all they did in the periods before it and, with `fold-in`, the first
    share of what they do in it. Users with nothing in their context are skipped, and with masking
    those whose targets all stand in it; items unknown at t are misses as targets and dropped from
    contexts. All of it is counted.

    Args:
        store: holds the log.
        fit_period: t, the last period that the model saw.
        settings: the protocol.
        seed: negatives and the order of ties derive from it and t.
        eval_period: the period asked about, t + 1 unless told.
        only: ask only about these users.

    Raises:
        UserError: the period asked about is not in the store.
    """
    asked = fit_period + 1 if eval_period is None else eval_period
    events = read_events(store, asked, asked)
    if len(events.users) == 0:
        raise UserError(
            f"period {asked} is not in the store, so the fit at period {fit_period} cannot be "
            "judged on it; ingest it first"
        )
    if only is not None:
        events = events.take(np.flatnonzero(only.mask(events.users)))
    num_items = count_known_items(store, fit_period)
    width = max(num_items, count_known_items(store, asked))
    users, rows = np.unique(events.users, return_inverse=True)
    before = read_rows(store, 1, asked - 1, num_items=width, users=users).interactions
    is_context = _mark_context(rows, settings)

    shape = (len(users), width)
    contexts = binary(before + _pairs(events, rows, is_context, shape))
    targets = _pairs(events, rows, ~is_context, shape)
    judged = np.flatnonzero(np.diff(contexts.indptr))
    return assemble(
        fit_period=fit_period,
        eval_period=asked,
        num_items=num_items,
        users=users[judged],
        contexts=contexts[judged],
        targets=targets[judged],
        item_counts=read_item_counts(store, fit_period, width),
        mask_context=settings.mask_context,
        num_negatives=settings.num_negatives,
        seed=seed,
        skipped_users=len(users) - len(judged),
    )


def _mark_context(rows: NDArray[np.intp], settings: ProtocolSettings) -> NDArray[np.bool_]:
    """Say which events of the next period, in log order, belong to the question."""
    if settings.protocol == "returning":
        return np.zeros(len(rows), dtype=np.bool_)
    lengths = np.bincount(rows)
    # The small amount keeps a share such as 0.29 of 100 from being rounded down to 28.
    shares = np.floor(settings.context_share * lengths + 1e-9).astype(np.int64)
    num_context = np.minimum(shares, lengths - 1)
    order = np.argsort(rows, kind="stable")
    position = np.empty(len(rows), dtype=np.int64)
    position[order] = np.arange(len(rows)) - (np.cumsum(lengths) - lengths)[rows[order]]
    marks: NDArray[np.bool_] = position < num_context[rows]
    return marks


def _pairs(
    events: Events, rows: NDArray[np.intp], chosen: NDArray[np.bool_], shape: tuple[int, int]
) -> csr_array:
    """The distinct (user, item) pairs of some events."""
    return pair_matrix(rows[chosen], events.items[chosen], shape)
