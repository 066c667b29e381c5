"""`distill-ader`: DISTILL-CF's synthetic users, with the last model's answers for targets."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perennial.memory.budget import parse_policy
from perennial.memory.distill.settings import DistillSettings
from perennial.replay.strategies.base import WarmStart, check_memory, rows_beside
from perennial.replay.strategies.distill_cf import BESIDE_REAL_USERS

if TYPE_CHECKING:
    from perennial.memory.base import Memory
    from perennial.models.base import TrainingRows
    from perennial.stream.history import History

_POLICY = "whole"


@dataclass(frozen=True)
class DistillAder:
    """Summaries as contexts, ADER's distillation as targets.

    Attributes:
        budget: B, synthetic users that are replayed at any period.
        memory_weight: how much one counts beside a user of the new period.
        distillation: how the log so far is distilled; the budget stands for its number of synthetic
            users. With `distill-cf`'s settings and budget, its summaries serve here too.
    """

    budget: int = 500
    memory_weight: float = 1.0
    distillation: DistillSettings = field(default_factory=lambda: BESIDE_REAL_USERS)

    name = "distill-ader"
    starts_warm = WarmStart.AS_TOLD
    needs_log = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_memory(self.budget, _POLICY, self.memory_weight)

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""
        settings = dataclasses.replace(self.distillation, num_synthetic_users=self.budget)
        return dataclasses.asdict(settings)

    def empty_memory(self) -> "Memory":
        """No summary yet."""
        from perennial.memory.distill_memory import DistillMemory
        from perennial.memory.teacher_memory import TeacherMemory

        policy = parse_policy(_POLICY)
        return TeacherMemory(
            DistillMemory(self.budget, policy, self.memory_weight, self.distillation)
        )

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """The users of period t, and the synthetic users with their teacher."""
        return rows_beside(history, memory)
