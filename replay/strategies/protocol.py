"""The seam of the strategies."""

from enum import Enum
from typing import Protocol

from memory.protocol import Memory, ReplayBuffer, TaughtMemory
from models.protocol import TrainingRows
from stream.history import History


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

    def empty_memory(self) -> Memory | TaughtMemory:
        """The memory before the first period."""
        ...

    def training_rows(self, history: History, memory: ReplayBuffer) -> TrainingRows:
        """The rows to fit on at period t = `history.period`.

        Args:
            history: the log up to and including t; nothing later can be read through it.
            memory: what is remembered of the periods before t.
        """
        ...
