"""What a distillation leaves: a few sparse synthetic users."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from scipy.sparse import csr_array

Json = Any
"""What `json.dumps` takes."""


@dataclass(frozen=True)
class Summary:
    """The synthetic users of one stretch of the log.

    Attributes:
        rows: `(num_rows, num_items)` float32, values in (0, 1], no empty row, columns in
            increasing order. Rows stand in order of usefulness, so that a prefix is what to keep
            when the budget shrinks.
        report: how they were made: losses, validation, steps, seconds, ...
    """

    rows: csr_array
    report: Mapping[str, Json]

    @property
    def num_rows(self) -> int:
        """Synthetic users."""
        return int(self.rows.shape[0])

    @property
    def density(self) -> float:
        """Share of the cells that are not zero; 0 for a summary without rows."""
        cells = int(self.rows.shape[0]) * int(self.rows.shape[1])
        return float(self.rows.nnz) / cells if cells else 0.0


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
