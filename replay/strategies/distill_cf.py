"""`distill-cf`: fit on the new period and on synthetic users that stand for those before it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perennial.memory.budget import parse_policy
from perennial.memory.distill.settings import DistillSettings
from perennial.replay.strategies.base import WarmStart, check_memory, rows_beside

if TYPE_CHECKING:
    from perennial.memory.base import Memory
    from perennial.models.base import TrainingRows
    from perennial.stream.history import History

BESIDE_REAL_USERS = DistillSettings(start_scale=2.0, num_steps=50)
"""Rows about as heavy as real ones. Alone, rows twice as heavy serve ∞-AE better, but not beside
real users: ML-1M, periods 3 to 7, HR@10 +0.11 over `individual` against +0.00."""


@dataclass(frozen=True)
class DistillCF:
    """Fit on period t and the summaries of the periods before it (paper section 5.3).

    Attributes:
        budget: B, the synthetic users that are replayed at any t.
        policy: `all`, `recent:K`, `rolling` or `whole`, see `perennial.memory.budget`.
        memory_weight: how much a synthetic user counts beside a real one.
        distillation: how a period is distilled; B stands for its number of synthetic users.
    """

    budget: int = 500
    policy: str = "whole"
    memory_weight: float = 1.0
    distillation: DistillSettings = field(default_factory=lambda: BESIDE_REAL_USERS)

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_memory(self.budget, self.policy, self.memory_weight)

    @property
    def name(self) -> str:
        """As on the command line."""
        return "distill-cf"

    @property
    def starts_warm(self) -> WarmStart:
        """As the model is told."""
        return WarmStart.AS_TOLD

    @property
    def needs_log(self) -> bool:
        """Only `whole` distils more than a period with what is remembered."""
        return parse_policy(self.policy).name == "whole"

    @property
    def summary_settings(self) -> Mapping[str, Any]:
        """Settings of the distillation, as they are recorded with each summary."""
        settings = dataclasses.replace(self.distillation, num_synthetic_users=self.budget)
        return dataclasses.asdict(settings)

    def empty_memory(self) -> "Memory":
        """No summary yet."""
        from perennial.memory.distill_memory import DistillMemory

        policy = parse_policy(self.policy)
        return DistillMemory(self.budget, policy, self.memory_weight, self.distillation)

    def training_rows(self, history: "History", memory: "Memory") -> "TrainingRows":
        """The users of period t, and the replayed rows."""
        return rows_beside(history, memory)
