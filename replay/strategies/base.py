"""The seam of the strategies."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from perennial.memory.budget import parse_policy

if TYPE_CHECKING:
    from perennial.memory.base import Memory
    from perennial.models.base import TrainingRows
    from perennial.stream.history import History


class WarmStart(Enum):
    """Whether fits start from the weights of the period before."""

    AS_TOLD = "as the settings of the model say"
    IF_POSSIBLE = "wherever the model has weights to start from"
    ALWAYS = "always; a model without weights is refused"


class Strategy(Protocol):
    """What a model is refitted on at period t, and what is remembered afterwards."""

    @property
    def name(self) -> str:
        """As on the command line, e.g. `joint`."""
        ...

    @property
    def starts_warm(self) -> WarmStart:
        """Whether fits start from the weights of the period before."""
        ...

    @property
    def needs_log(self) -> bool:
        """Whether a fit, or its memory made again, reads periods that were absorbed already."""
        ...

    def empty_memory(self) -> "Memory":
        """The memory before the first period."""
        ...

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """The rows to fit on at period t = `history.period`.

        Args:
            history: the log up to and including t; nothing later can be read through it.
            memory: what is remembered of the periods before t.
        """
        ...


@runtime_checkable
class DistillingStrategy(Protocol):
    """A strategy whose memory is summaries in the store."""

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""
        ...


def rows_beside(history: "History", memory: "Memory") -> "TrainingRows":
    """The users of period t, and the rows that the memory replays."""
    from perennial.memory.base import join_rows
    from perennial.models.base import TrainingRows

    rows = TrainingRows.of_users(history.rows(first=history.period))
    replayed = memory.replay_rows(rows.num_items)
    return rows if replayed is None else join_rows(rows, replayed)


def check_memory(budget: int, policy: str, weight: float) -> None:
    """Refuse settings of a buffer that mean nothing.

    Raises:
        UserError: no such policy.
        ValueError: a number out of range.
    """
    parse_policy(policy)
    if budget < 1:
        raise ValueError("budget must be at least 1")
    if not 0 < weight < float("inf"):
        raise ValueError("memory_weight must be positive")
