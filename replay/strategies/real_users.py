"""`user-rns`, `head-user`, …: fit on the new period and on sampled rows of earlier periods."""

from dataclasses import dataclass

from perennial.memory.base import Memory
from perennial.memory.budget import parse_policy
from perennial.memory.sampled_memory import SampledMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import WarmStart, check_memory, period_and_replayed_rows
from perennial.stream.history import History


@dataclass(frozen=True)
class Sampled:
    """Fit on period t and sampled rows of the periods before it; baselines of the paper.

    Attributes:
        sampler: a key of `perennial.memory.samplers.registry.SAMPLERS`.
        budget: B, the most rows that are replayed.
        policy: `all`, `recent:K`, `rolling` or `whole`, see `budget`. Under `rolling` the
            buffer of `user-rns` is a uniform sample of all rows so far: a returning user has one
            for each period.
        memory_weight: of a replayed row; a row of the new period has weight 1.
    """

    sampler: str
    budget: int = 500
    policy: str = "rolling"
    memory_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        SAMPLERS.load(self.sampler)
        check_memory(self.budget, self.policy, self.memory_weight)

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.sampler

    @property
    def starts_warm(self) -> WarmStart:
        """By the model's settings."""
        return WarmStart.BY_MODEL

    @property
    def needs_log(self) -> bool:
        """Return whether the log is needed: rows are drawn again after a resume."""
        return True

    def empty_memory(self) -> Memory:
        """Return the memory without rows."""
        policy = parse_policy(self.policy)
        return SampledMemory(self.budget, policy, self.memory_weight, SAMPLERS.load(self.sampler))

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return the users of period t and the replayed rows."""
        return period_and_replayed_rows(history, memory)
