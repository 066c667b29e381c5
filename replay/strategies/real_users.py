"""`user-rns`, `head-user`, …: fit on the new period and on sampled rows of earlier periods."""

from dataclasses import dataclass

from perennial.memory.base import Memory
from perennial.memory.budget import parse_policy
from perennial.memory.sampled_memory import SampledMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.replay.strategies.base import BudgetedReplay, Extent


@dataclass(frozen=True)
class Sampled(BudgetedReplay):
    """Fit on period t and sampled rows of the periods before it; baselines of the paper.

    Attributes:
        sampler: a key of `perennial.memory.samplers.registry.SAMPLERS`.
        budget: B, the most rows that are replayed.
        policy: `all`, `recent:K`, `rolling` or `whole`, see `budget`. Under `rolling` the
            buffer of `user-rns` is a uniform sample of all rows so far: a returning user has one
            for each period.
        memory_weight: of a replayed row; a row of the new period has weight 1.
        history: as in `BudgetedReplay`.
    """

    sampler: str
    budget: int = 500
    policy: str = "rolling"
    memory_weight: float = 1.0
    history: Extent = "full"

    needs_log = True  # Rows are drawn again after a resume.

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        SAMPLERS.load(self.sampler)
        super().__post_init__()

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.sampler

    def empty_memory(self) -> Memory:
        """Return the memory without rows."""
        policy = parse_policy(self.policy)
        return SampledMemory(self.budget, policy, self.memory_weight, SAMPLERS.load(self.sampler))
