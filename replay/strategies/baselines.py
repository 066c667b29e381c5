"""`individual`, `finetune` and `joint`: strategies without a memory."""

from perennial.memory.base import Memory, NoMemory
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import WarmStart
from perennial.stream.history import History


class _WithoutMemory:
    """A strategy that reads all it needs from the log."""

    draws_at_random = False

    def empty_memory(self) -> Memory:
        """Return a memory that stays empty."""
        return NoMemory()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return the users of period t, each with the interactions in it."""
        return TrainingRows.of_users(history.rows(first=history.period))


class Individual(_WithoutMemory):
    """Fit on period t only."""

    name = "individual"
    starts_warm = WarmStart.BY_MODEL
    needs_log = False


class Finetune(_WithoutMemory):
    """Fit on period t only, from the weights of period t−1 (Mi, Lin & Faltings, RecSys 2020)."""

    name = "finetune"
    starts_warm = WarmStart.ALWAYS
    needs_log = False


class Joint(_WithoutMemory):
    """Fit on all periods ≤ t."""

    name = "joint"
    starts_warm = WarmStart.BY_MODEL
    needs_log = True

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return all users so far, each with all interactions."""
        return TrainingRows.of_users(history.rows(first=1))
