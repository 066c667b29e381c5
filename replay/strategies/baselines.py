"""Strategies without a memory, and those that replay sampled rows of earlier periods."""

from dataclasses import dataclass

from perennial.memory.base import Memory, NoMemory
from perennial.memory.budget import parse_policy
from perennial.memory.sampled_memory import SampledMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import (
    BudgetedReplay,
    Extent,
    WarmStart,
    check_extent,
    newest_rows,
)
from perennial.stream.history import History


class _WithoutMemory:
    """A strategy that reads all it needs from the log."""

    history: Extent = "period"
    draws_at_random = False

    def empty_memory(self) -> Memory:
        """Return a memory that stays empty."""
        return NoMemory()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return the users of period t, with the histories that are set."""
        return newest_rows(history, self.history)


class Individual(_WithoutMemory):
    """Fit on period t only."""

    name = "individual"
    starts_warm = WarmStart.BY_MODEL
    needs_log = False


class Active(_WithoutMemory):
    """Fit on the users of period t, with all their interactions up to t that the store holds.

    A memory adds to this what it keeps of users who were away.
    """

    name = "active"
    history: Extent = "full"
    starts_warm = WarmStart.BY_MODEL
    needs_log = False


@dataclass(frozen=True)
class Finetune(_WithoutMemory):
    """Fit on period t only, from the weights of period t−1 (Mi, Lin & Faltings, RecSys 2020).

    Attributes:
        history: interactions of period t's users that are trained on: period t's alone (`period`,
            the paper), or all up to t that the store holds (`full`).
    """

    history: Extent = "period"

    name = "finetune"
    starts_warm = WarmStart.ALWAYS
    needs_log = False

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        check_extent(self.history)


class Joint(_WithoutMemory):
    """Fit on all periods ≤ t."""

    name = "joint"
    starts_warm = WarmStart.BY_MODEL
    needs_log = True

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return all users so far, each with all interactions."""
        return TrainingRows.of_users(history.rows(first=1))


@dataclass(frozen=True)
class Sampled(BudgetedReplay):
    """Fit on period t and sampled rows of the periods before it; baselines of the paper.

    Attributes:
        policy: as in `BudgetedReplay`. Under `rolling` the buffer of `user-rns` is a uniform sample
            of all rows so far: a returning user has one for each period.
    """

    sampler: str
    budget: int | str = 500
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
