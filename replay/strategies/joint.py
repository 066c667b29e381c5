"""`joint`: forget nothing, fit on the whole log."""

from memory.protocol import Memory, NoMemory, ReplayBuffer
from models.protocol import TrainingRows
from replay.strategies.protocol import WarmStart
from stream.history import History


class Joint:
    """Fit on all periods ≤ t."""

    name = "joint"
    starts_warm = WarmStart.AS_TOLD
    needs_log = True

    def empty_memory(self) -> Memory:
        """The log is the memory."""
        return NoMemory()

    def training_rows(self, history: History, memory: ReplayBuffer) -> TrainingRows:
        """All users so far, each with everything they did."""
        return TrainingRows.of_users(history.rows(first=1))
