"""`user-rns`, `head-user`, …: fit on the new period and on rows of earlier users as they were."""

from dataclasses import dataclass

from perennial.memory.base import Memory
from perennial.memory.budget import parse_policy
from perennial.memory.sampled_memory import SampledMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import WarmStart, check_memory, rows_beside
from perennial.stream.history import History


@dataclass(frozen=True)
class Sampled:
    """Fit on period t and sampled rows of the periods before it; baselines of the paper.

    Attributes:
        sampler: a key of `perennial.memory.samplers.registry.SAMPLERS`.
        budget: B, the rows that are replayed at any t.
        policy: `all`, `recent:K`, `rolling` or `whole`, see `budget`. Under `rolling` the
            buffer of `user-rns` is a uniform sample of all rows so far: a user who came back has
            one for each period.
        memory_weight: how much a replayed row counts beside one of the new period.
    """

    sampler: str
    budget: int = 500
    policy: str = "rolling"
    memory_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        SAMPLERS.load(self.sampler)
        check_memory(self.budget, self.policy, self.memory_weight)

    @property
    def name(self) -> str:
        """As on the command line."""
        return self.sampler

    @property
    def starts_warm(self) -> WarmStart:
        """As the model is told."""
        return WarmStart.AS_TOLD

    @property
    def needs_log(self) -> bool:
        """The rows are drawn again from the log after a resume."""
        return True

    def empty_memory(self) -> Memory:
        """No row yet."""
        policy = parse_policy(self.policy)
        return SampledMemory(self.budget, policy, self.memory_weight, SAMPLERS.load(self.sampler))

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """The users of period t, and the replayed rows."""
        return rows_beside(history, memory)
