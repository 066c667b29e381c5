"""From a log that someone names to a file of synthetic users, without a store that stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from memory.listener import DistillListener
from memory.settings import DistillSettings
from replay.summaries import distil_log, summary_table, write_table
from replay.whole_log import check_folder, hold_whole
from storage.remote import Place
from stream.sources.protocol import LogFiles


@dataclass(frozen=True)
class DistillRequest:
    """What to distil and how.

    Attributes:
        source: what the log is called.
        users: synthetic users.
        seed: of all draws.
        method: as in `DistillSettings`.
        max_items: most items of a synthetic user; 0 for any, `None` for the method's own.
        export: as in `DistillSettings`.
        steps: steps at most; `None` for the method's own.
        reading: fields of `IngestSettings` that differ from the source's own.
    """

    source: str
    users: int
    seed: int
    method: Literal["sparse", "paper"]
    max_items: int | None
    export: Literal["soft", "hard"]
    steps: int | None
    reading: Mapping[str, Any] = field(default_factory=dict)

    def to_settings(self) -> DistillSettings:
        """With the method's own where nothing was asked."""
        changes: dict[str, Any] = {"num_synthetic_users": self.users, "export": self.export}
        if self.max_items is not None:
            changes["max_items"] = self.max_items or None
        if self.steps is not None:
            changes["num_steps"] = self.steps
        return (
            DistillSettings.paper(**changes)
            if self.method == "paper"
            else DistillSettings(**changes)
        )


def distill_to_file(
    log: LogFiles, request: DistillRequest, output: Place, listener: DistillListener
) -> dict[str, Any]:
    """Read the log, distil it, write the file.

    Args:
        log: from `stream.sources`.
        request: how.
        output: a Parquet file, here or on object storage, replaced as a whole.
        listener: told of every step.

    Returns:
        The report of the distillation, `synthetic_users`, `non_zeros` and `density`.

    Raises:
        UserError: the log cannot be read, or the file cannot be written.
    """
    check_folder(output)
    with hold_whole(log, request.reading) as store:
        summary = distil_log(store, request.to_settings(), request.seed, listener)
        write_table(summary_table(store, summary.rows), output)
    return {
        **summary.report,
        "synthetic_users": summary.num_rows,
        "non_zeros": int(summary.rows.nnz),
        "density": summary.density,
    }
