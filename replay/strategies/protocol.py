"""The seam of the strategies."""

from typing import Protocol

from memory.protocol import Memory
from models.protocol import TrainingRows
from stream.history import History


class Strategy(Protocol):
    """What a model is refitted on at period t, and what is remembered afterwards."""

    @property
    def name(self) -> str:
        """As on the command line, e.g. `joint`."""
        ...

    @property
    def starts_warm(self) -> bool:
        """Whether fits start from the weights of the period before, whatever the model says."""
        ...

    def empty_memory(self) -> Memory:
        """The memory before the first period."""
        ...

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """The rows to fit on at period t = `history.period`.

        Args:
            history: the log up to and including t; nothing later can be read through it.
            memory: what is remembered of the periods before t.
        """
        ...
