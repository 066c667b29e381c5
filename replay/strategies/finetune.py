"""`finetune`: remember only what the weights remember; ADER's own baseline."""

from memory.protocol import Memory, NoMemory, ReplayBuffer
from models.protocol import TrainingRows
from replay.strategies.protocol import WarmStart
from stream.history import History


class Finetune:
    """Fit on period t only, from the weights of period t−1 (Mi, Lin & Faltings, RecSys 2020)."""

    name = "finetune"
    starts_warm = WarmStart.ALWAYS
    needs_log = False

    def empty_memory(self) -> Memory:
        """Nothing is remembered beside the weights."""
        return NoMemory()

    def training_rows(self, history: History, memory: ReplayBuffer) -> TrainingRows:
        """The users of period t, each with what they did in it."""
        return TrainingRows.of_users(history.rows(first=history.period))
