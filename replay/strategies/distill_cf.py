"""`distill-cf` and `distill-ader`: synthetic users for the periods before the new one."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perennial.memory.budget import parse_budget, parse_policy
from perennial.memory.distill.settings import DistillSettings
from perennial.replay.strategies.base import BudgetedReplay, Extent

if TYPE_CHECKING:
    from perennial.memory.base import Memory


WITH_REAL_USERS = DistillSettings(guide=0.3, start_scale=1.0, num_steps=50)
"""Rows about as heavy as real ones, mostly the users' own; the steps are not for `rolling`.
Alone, smoother and heavier rows are better for ∞-AE, but not with real users."""


class SummaryReplay(BudgetedReplay):
    """Base of strategies that replay summaries."""

    distillation: DistillSettings

    def __post_init__(self) -> None:
        """Refuse settings that are out of range, and a budget without room for a row."""
        super().__post_init__()
        self.num_rows  # noqa: B018

    @property
    def num_rows(self) -> int:
        """The most synthetic users: bytes hold so many with all the items that each may have."""
        return parse_budget(self.budget).rows_of(self.distillation.max_items)

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""
        settings = dataclasses.replace(self.distillation, num_synthetic_users=self.num_rows)
        return dataclasses.asdict(settings)

    def empty_memory(self) -> "Memory":
        """Return the memory without summaries."""
        from perennial.memory.distill_memory import DistillMemory

        policy = parse_policy(self.policy)
        return DistillMemory(self.num_rows, policy, self.memory_weight, self.distillation)


@dataclass(frozen=True)
class DistillCF(SummaryReplay):
    """Fit on period t and the summaries of the periods before it (paper section 5.3).

    Attributes:
        budget: B, the most synthetic users that are replayed, or bytes such as `256KiB`.
        memory_weight: of a synthetic user; a real user has weight 1.
        distillation: settings; B replaces the number of synthetic users.
    """

    budget: int | str = 500
    policy: str = "rolling"
    memory_weight: float = 1.0
    history: Extent = "full"
    distillation: DistillSettings = field(default_factory=lambda: WITH_REAL_USERS)

    name = "distill-cf"

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        super().__post_init__()
        if self.policy == "rolling" and self.distillation.method != "sparse":
            raise ValueError(
                "policy rolling makes no steps, so that distillation.method must be sparse; "
                "for paper choose whole, all or recent:K"
            )

    @property
    def needs_log(self) -> bool:
        """Return whether the policy distils the whole log."""
        return parse_policy(self.policy).name == "whole"


@dataclass(frozen=True)
class DistillAder(SummaryReplay):
    """Summaries as contexts, ADER's distillation as targets.

    Attributes:
        budget: B, the most synthetic users that are replayed, or bytes such as `256KiB`.
        distillation: settings; the budget replaces the number of synthetic users.
            With the settings and budget of `distill-cf` under the policy `whole`, both share the
            summaries.
    """

    budget: int | str = 500
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
