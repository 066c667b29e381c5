"""The result of a distillation, and its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scipy.sparse import csr_array

from perennial.storage.base import Json, Progress


@dataclass(frozen=True)
class Summary:
    """The synthetic users of one or more periods.

    Attributes:
        rows: `(num_rows, num_items)` float32, values in (0, 1], no empty row, columns in
            increasing order. Rows are in order of usefulness: when the budget shrinks, a
            prefix is kept.
        report: of the distillation: loss, validation, steps, seconds, ...
    """

    rows: csr_array
    report: Mapping[str, Json]

    @property
    def num_rows(self) -> int:
        """Number of synthetic users."""
        return int(self.rows.shape[0])

    @property
    def density(self) -> float:
        """Share of the cells that are not zero; 0 for a summary without rows."""
        cells = int(self.rows.shape[0]) * int(self.rows.shape[1])
        return float(self.rows.nnz) / cells if cells else 0.0


@dataclass(frozen=True)
class DistillStep:
    """Event after a step of a distillation.

    Attributes:
        step: number of the step, from 1; 0 for the validation of the initial support.
        num_steps: the most steps that are made.
        loss: of this step; `None` where it was not fetched from the device.
        validation: HR@100 in per cent on the holdout; `None` for a step without validation.
    """

    step: int
    num_steps: int
    loss: float | None = None
    validation: float | None = None


DistillListener = Callable[[DistillStep], None]
"""Callback after each step; it may raise `KeyboardInterrupt` to end the distillation."""


def ignore_steps(_step: DistillStep) -> None:
    """Drop an event."""


def report_steps(progress: Progress, message: str) -> DistillListener:
    """Make a listener that reports each step and the newest validation to a progress callback."""
    newest = ""

    def listener(event: DistillStep) -> None:
        nonlocal newest
        if event.validation is not None:
            loss = "" if event.loss is None else f", loss {event.loss:.4g}"
            newest = f"{loss}, validation HR@100 {event.validation:.2f}"
        text = f"{message}: step {event.step} of {event.num_steps}{newest}"
        progress(text, event.step, event.num_steps)

    return listener
