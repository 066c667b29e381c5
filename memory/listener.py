"""Who is told how a distillation goes."""

from typing import Protocol


class DistillListener(Protocol):
    """Shows progress, or does not."""

    def started(self, num_steps: int) -> None:
        """At most `num_steps` steps are about to be made."""

    def step(self, step: int, loss: float | None, validation: float | None) -> None:
        """Step `step` is done.

        Args:
            step: from 1; 0 for the start.
            loss: of the newest step whose loss was fetched.
            validation: HR@100 in per cent of the newest validation.
        """


class SilentListener:
    """Shows nothing."""

    def started(self, num_steps: int) -> None:
        """Nothing to show."""

    def step(self, step: int, loss: float | None, validation: float | None) -> None:
        """Nothing to show."""
