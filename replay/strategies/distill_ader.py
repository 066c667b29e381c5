"""`distill-ader`: DISTILL-CF's synthetic users, with the last model's scores as targets."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perennial.memory.distill.settings import DistillSettings
from perennial.replay.strategies.base import Extent
from perennial.replay.strategies.distill_cf import WITH_REAL_USERS, SummaryReplay

if TYPE_CHECKING:
    from perennial.memory.base import Memory


@dataclass(frozen=True)
class DistillAder(SummaryReplay):
    """Summaries as contexts, ADER's distillation as targets.

    Attributes:
        budget: B, the most synthetic users that are replayed.
        memory_weight: of a synthetic user; a user of the new period has weight 1.
        history: as in `BudgetedReplay`.
        distillation: settings; the budget replaces the number of synthetic users.
            With the settings and budget of `distill-cf` under the policy `whole`, both share the
            summaries.
    """

    budget: int = 500
    memory_weight: float = 1.0
    history: Extent = "full"
    distillation: DistillSettings = field(default_factory=lambda: WITH_REAL_USERS)

    name = "distill-ader"
    policy = "whole"
    needs_log = True

    def empty_memory(self) -> "Memory":
        """Return the memory without summaries."""
        from perennial.memory.exemplar_memory import TeacherMemory

        return TeacherMemory(super().empty_memory())
