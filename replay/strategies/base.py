"""The interface of strategies, and what several of them share."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from perennial.memory.budget import parse_budget, parse_policy

if TYPE_CHECKING:
    from perennial.memory.base import Memory
    from perennial.models.base import TrainingRows
    from perennial.stream.history import History


Extent = Literal["full", "period"]
"""Interactions of period t's users that are trained on: all up to t, or period t's alone."""


class WarmStart(Enum):
    """Condition under which fits start from the weights of the period before."""

    BY_MODEL = "if the settings of the model say so"
    IF_POSSIBLE = "if the model has weights to start from"
    ALWAYS = "always; a model without weights is refused"


class Strategy(Protocol):
    """Training rows of the fit at each period, and the memory of the periods before."""

    @property
    def name(self) -> str:
        """Name on the command line, e.g. `joint`."""

    @property
    def starts_warm(self) -> WarmStart:
        """Condition under which fits start from the weights of the period before."""

    @property
    def needs_log(self) -> bool:
        """Return whether a fit, or the rebuilding of its memory, reads periods before t."""

    @property
    def draws_at_random(self) -> bool:
        """True if another seed may give other training rows; so it is taken without this."""

    def empty_memory(self) -> "Memory":
        """Return the memory before the first period."""

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """Return the rows to fit on at t = `history.period`, with a memory of those before t."""


@runtime_checkable
class DistillingStrategy(Protocol):
    """A strategy whose memory is summaries in the store."""

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""


def check_extent(extent: str) -> None:
    """Raise a `ValueError` for what is neither `full` nor `period`."""
    if extent not in get_args(Extent):
        raise ValueError(f"history must be {' or '.join(get_args(Extent))}")


def newest_rows(log: "History", extent: Extent) -> "TrainingRows":
    """Return the users of period t with their `full` histories or those of the `period`."""
    from perennial.models.base import TrainingRows

    return TrainingRows.of_users(
        log.active_rows() if extent == "full" else log.rows(first=log.period)
    )


class BudgetedReplay:
    """Base of strategies that fit on period t and on what a memory under a budget replays.

    Attributes:
        budget: B, the most rows that are replayed, or bytes such as `256KiB`.
        policy: by which the budget is shared among the periods.
        memory_weight: of a replayed row; a row of the new period has weight 1.
        history: interactions of period t's users that are trained on: all up to t that the store
            holds (`full`), or period t's alone (`period`, the paper).
    """

    budget: int | str
    policy: str
    memory_weight: float
    history: Extent
    starts_warm = WarmStart.BY_MODEL
    draws_at_random = True

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        parse_policy(self.policy)
        check_extent(self.history)
        parse_budget(self.budget)
        if not 0 < self.memory_weight < float("inf"):
            raise ValueError("memory_weight must be positive")

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """Return the users of period t and the rows that the memory replays."""
        from perennial.memory.base import join_rows

        rows = newest_rows(history, self.history)
        replayed = memory.replay_rows(rows.num_items)
        return rows if replayed is None else join_rows(rows, replayed)
