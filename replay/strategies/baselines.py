"""`individual`: forget everything, fit on the new period alone."""

from perennial.memory.base import Memory, NoMemory
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import WarmStart
from perennial.stream.history import History


class Individual:
    """Fit on period t only."""

    name = "individual"
    starts_warm = WarmStart.AS_TOLD
    needs_log = False

    def empty_memory(self) -> Memory:
        """Nothing is remembered."""
        return NoMemory()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """The users of period t, each with what they did in it."""
        return TrainingRows.of_users(history.rows(first=history.period))


class Finetune:
    """Fit on period t only, from the weights of period t−1 (Mi, Lin & Faltings, RecSys 2020)."""

    name = "finetune"
    starts_warm = WarmStart.ALWAYS
    needs_log = False

    def empty_memory(self) -> Memory:
        """Nothing is remembered beside the weights."""
        return NoMemory()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """The users of period t, each with what they did in it."""
        return TrainingRows.of_users(history.rows(first=history.period))


class Joint:
    """Fit on all periods ≤ t."""

    name = "joint"
    starts_warm = WarmStart.AS_TOLD
    needs_log = True

    def empty_memory(self) -> Memory:
        """The log is the memory."""
        return NoMemory()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """All users so far, each with everything they did."""
        return TrainingRows.of_users(history.rows(first=1))
