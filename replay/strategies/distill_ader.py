"""`distill-ader`: DISTILL-CF's synthetic users, with the last model's scores as targets."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perennial.memory.budget import parse_policy
from perennial.memory.distill.settings import DistillSettings
from perennial.replay.strategies.base import WarmStart, check_memory, period_and_replayed_rows
from perennial.replay.strategies.distill_cf import WITH_REAL_USERS

if TYPE_CHECKING:
    from perennial.memory.base import Memory
    from perennial.models.base import TrainingRows
    from perennial.stream.history import History

_POLICY = "whole"


@dataclass(frozen=True)
class DistillAder:
    """Summaries as contexts, ADER's distillation as targets.

    Attributes:
        budget: B, the most synthetic users that are replayed.
        memory_weight: of a synthetic user; a user of the new period has weight 1.
        distillation: settings; the budget replaces the number of synthetic users.
            With `distill-cf`'s settings and budget, both strategies share the summaries.
    """

    budget: int = 500
    memory_weight: float = 1.0
    distillation: DistillSettings = field(default_factory=lambda: WITH_REAL_USERS)

    name = "distill-ader"
    starts_warm = WarmStart.BY_MODEL
    needs_log = True

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        check_memory(self.budget, _POLICY, self.memory_weight)

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""
        settings = dataclasses.replace(self.distillation, num_synthetic_users=self.budget)
        return dataclasses.asdict(settings)

    def empty_memory(self) -> "Memory":
        """Return the memory without summaries."""
        from perennial.memory.distill_memory import DistillMemory
        from perennial.memory.teacher_memory import TeacherMemory

        policy = parse_policy(_POLICY)
        return TeacherMemory(
            DistillMemory(self.budget, policy, self.memory_weight, self.distillation)
        )

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """Return the users of period t, and the synthetic users with their teacher."""
        return period_and_replayed_rows(history, memory)
