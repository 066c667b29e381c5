"""`individual`: forget everything, fit on the new period alone."""

from memory.protocol import Memory, NoMemory, ReplayBuffer
from models.protocol import TrainingRows
from replay.strategies.protocol import WarmStart
from stream.history import History


class Individual:
    """Fit on period t only."""

    name = "individual"
    starts_warm = WarmStart.AS_TOLD
    needs_log = False

    def empty_memory(self) -> Memory:
        """Nothing is remembered."""
        return NoMemory()

    def training_rows(self, history: History, memory: ReplayBuffer) -> TrainingRows:
        """The users of period t, each with what they did in it."""
        return TrainingRows.of_users(history.rows(first=history.period))
