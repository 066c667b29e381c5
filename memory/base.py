"""The seam of the memories: what survives of a period once it is over."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from perennial.models.base import FittedModel, TrainingRows
from perennial.stream.history import History

Say = Callable[[str], None]
"""Told in a few words how work goes on."""


def say_nothing(_words: str) -> None:
    """Drop a message."""


class ReplayBuffer(Protocol):
    """What is replayed beside the new period."""

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """The rows to train on beside period t, all marked `replayed`.

        Args:
            num_items: d_t, the width of the rows.

        Returns:
            At most the budget's rows, or `None` while nothing is remembered.
        """
        ...


@runtime_checkable
class Memory(ReplayBuffer, Protocol):
    """What a strategy remembers of the periods before t; immutable.

    A memory that costs time to make keeps its parts in the store, so that absorbing the same period
    under the same seed again, after a resume, finds them there.
    """

    @property
    def reach(self) -> int | None:
        """How many of the last periods must be absorbed for the memory to be whole; `None`: all."""
        ...

    def absorb(self, history: History, seed: int, say: Say = say_nothing) -> "Memory":
        """The memory after period `history.period` is over.

        Args:
            history: everything up to and including the period to absorb.
            seed: of the run; every random draw derives from it and the period, and from no strategy
                or model, so that what they share is made once.
            say: told how it goes.
        """
        ...


@runtime_checkable
class TaughtMemory(ReplayBuffer, Protocol):
    """A memory that learns from the model fitted at each period; immutable.

    It depends on all models before, so it is kept with the newest of them to go on from.
    """

    def learn(
        self,
        history: History,
        model: FittedModel,
        seed: int,
        say: Say = say_nothing,
        *,
        shared_seed: int | None = None,
    ) -> "TaughtMemory":
        """The memory after period `history.period` is over.

        Args:
            history: everything up to and including the period to absorb.
            model: fitted at that period, beside what this memory replays.
            seed: of the chain of fits; every random draw derives from it and the period.
            say: told how it goes.
            shared_seed: for draws that the chains of other models share; `seed` unless told.

        Raises:
            UserError: the model is of a kind that cannot teach.
        """
        ...

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `restored` needs, the last model apart."""
        ...

    def restored(self, arrays: Mapping[str, NDArray[Any]]) -> "TaughtMemory":
        """The memory of these settings that `to_arrays` came from; it can learn, not yet replay.

        Raises:
            UserError: the arrays are damaged.
        """
        ...


class NoMemory:
    """Remembers nothing: for strategies that read all they need from the log."""

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Nothing to replay."""
        return None

    @property
    def reach(self) -> int | None:
        """None at all."""
        return 0

    def absorb(self, history: History, seed: int, say: Say = say_nothing) -> "NoMemory":
        """Nothing is kept."""
        return self
