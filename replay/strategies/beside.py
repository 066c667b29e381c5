"""What strategies with a replay buffer share."""

from memory.buffer import parse_policy
from memory.distill_memory import join_rows
from memory.protocol import ReplayBuffer
from models.protocol import TrainingRows
from stream.history import History


def rows_beside(history: History, memory: ReplayBuffer) -> TrainingRows:
    """The users of period t, and the rows that the memory replays."""
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
