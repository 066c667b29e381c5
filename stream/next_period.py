"""The two protocols of evaluation on the next period (design note 5)."""

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
"""`fold-in`: the first interactions of the next period are part of the context.
`returning`: the context holds earlier periods only."""


@dataclass(frozen=True)
class ProtocolSettings:
    """Settings of the evaluation on the next period.

    Attributes:
        protocol: `fold-in` or `returning`.
        context_share: fold-in: share of a user's interactions in the next period, the earliest
            ones, that is context; the rest, at least one, are targets.
        mask_context: exclude the context's items from the ranking and the targets.
        num_negatives: negatives per user for the pooled AUC.
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
    """Build the evaluation on a period; it is the same for every strategy and model.

    The context of a user is all earlier interactions and, with `fold-in`, the first share of those
    in the period. Users with an empty context are skipped, and with masking those whose targets are
    all in the context. Items unknown at t are misses as targets and dropped from contexts. All of
    this is counted.

    Negatives and the order of ties derive from `seed` and t. The targets are in `eval_period`, t +
    1 by default, and `only` limits the users.

    Raises:
        UserError: the evaluation period is not in the store.
    """
    eval_period = fit_period + 1 if eval_period is None else eval_period
    events = read_events(store, eval_period, eval_period)
    if len(events.users) == 0:
        raise UserError(
            f"period {eval_period} is not in the store, so the fit at period {fit_period} cannot "
            "be evaluated on it; ingest it first"
        )
    if only is not None:
        events = events.take(np.flatnonzero(only.mask(events.users)))
    num_items = count_known_items(store, fit_period)
    width = max(num_items, count_known_items(store, eval_period))
    users, rows = np.unique(events.users, return_inverse=True)
    before = read_rows(store, 1, eval_period - 1, num_items=width, users=users).interactions
    is_context = _mark_context(rows, settings)

    shape = (len(users), width)
    contexts = binary(before + _pairs(events, rows, is_context, shape))
    targets = _pairs(events, rows, ~is_context, shape)
    with_context = np.flatnonzero(np.diff(contexts.indptr))
    return assemble(
        fit_period=fit_period,
        eval_period=eval_period,
        num_items=num_items,
        users=users[with_context],
        contexts=contexts[with_context],
        targets=targets[with_context],
        item_counts=read_item_counts(store, fit_period, width),
        mask_context=settings.mask_context,
        num_negatives=settings.num_negatives,
        seed=seed,
        skipped_users=len(users) - len(with_context),
        without_context=len(users) - len(with_context),
    )


def _mark_context(rows: NDArray[np.intp], settings: ProtocolSettings) -> NDArray[np.bool_]:
    """Return which of n events of the period belong to contexts: `rows` `(n,)` -> `(n,)` bool."""
    if settings.protocol == "returning":
        return np.zeros(len(rows), dtype=np.bool_)
    lengths = np.bincount(rows)
    # The small summand prevents that 0.29 of 100 is rounded down to 28.
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
    """Return the distinct (user, item) pairs of the `chosen` `(n,)` events, as a matrix."""
    return pair_matrix(rows[chosen], events.items[chosen], shape)
