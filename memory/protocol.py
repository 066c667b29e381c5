"""The seam of the memories: what survives of a period once it is over."""

from collections.abc import Callable
from typing import Protocol

from models.protocol import TrainingRows
from stream.history import History

Say = Callable[[str], None]
"""Told in a few words how work goes on."""


def say_nothing(_words: str) -> None:
    """Drop a message."""


class Memory(Protocol):
    """What a strategy remembers of the periods before t; immutable.

    A memory that costs time to make keeps its parts in the store, so that absorbing the same period
    under the same seed again, after a resume, finds them there.
    """

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """The rows to train on beside period t, all marked `replayed`.

        Args:
            num_items: d_t, the width of the rows.

        Returns:
            At most the budget's rows, or `None` while nothing is remembered.
        """
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


class NoMemory:
    """Remembers nothing: for strategies that read all they need from the log."""

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Nothing to replay."""
        return None

    def absorb(self, history: History, seed: int, say: Say = say_nothing) -> "NoMemory":
        """Nothing is kept."""
        return self
