"""A whole log, whatever its periods, distilled or sampled into a file."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillListener
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import TrainingRows
from perennial.replay.summaries import summary_table
from perennial.storage.errors import UserError
from perennial.storage.log.ledger import IngestListener, ignore_report
from perennial.storage.log.matrices import UserRows, count_known_items, read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, id_column
from perennial.storage.objects.bucket import Bucket, Place, RemotePath
from perennial.storage.objects.table_files import write_table
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.loading import load_log
from perennial.stream.sources.base import LogFiles


@dataclass(frozen=True)
class DistillRequest:
    """Settings of a distillation, as in `DistillSettings`; `None` for the method's own.

    `max_items` is 0 for any, and `reading` has the fields of `IngestSettings` that differ from the
    source's own.
    """

    users: int
    seed: int
    method: Literal["sparse", "paper"]
    max_items: int | None
    export: Literal["soft", "hard"]
    steps: int | None
    reading: Mapping[str, Any] = field(default_factory=dict)

    def to_settings(self) -> DistillSettings:
        """Return the settings of the distillation."""
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
    log: LogFiles,
    request: DistillRequest,
    output: Place,
    listener: DistillListener,
    on_read: IngestListener = ignore_report,
) -> dict[str, Any]:
    """Read the log, distil it, write the file; raise `UserError` if one of them fails.

    `output` is a file, here or on object storage, replaced as a whole. The report is that of
    `distill_log`.
    """
    check_folder(output)
    table, report = distill_log(log, request, listener, on_read)
    write_table(table, output)
    return report


def distill_log(
    log: LogFiles,
    request: DistillRequest,
    listener: DistillListener,
    on_read: IngestListener = ignore_report,
) -> tuple[pa.Table, dict[str, Any]]:
    """Read the log and distil it; raise `UserError` if one of them fails.

    Returns:
        The table of `summary_table`, and the report of the distillation with `synthetic_users`,
        `non_zeros` and `density`.
    """
    with hold_whole(log, request.reading, on_read) as store:
        rows = TrainingRows.of_users(read_whole(store))
        summary = distill(rows, request.to_settings(), request.seed, listener=listener)
        table = summary_table(store, summary.rows)
    return table, {
        **summary.report,
        "synthetic_users": summary.num_rows,
        "non_zeros": int(summary.rows.nnz),
        "density": summary.density,
    }


@dataclass(frozen=True)
class SampleRequest:
    """Real users to keep, by one of `SAMPLERS`; `reading` as in `DistillRequest`."""

    sampler: str
    users: int
    seed: int
    reading: Mapping[str, Any] = field(default_factory=dict)


def sample_to_file(
    log: LogFiles, request: SampleRequest, output: Place, on_read: IngestListener = ignore_report
) -> dict[str, Any]:
    """Read the log, choose, write `user_id` and `item_id`, highest priority first.

    It is as `distill_to_file`, and returns `users`, `interactions`, and `users_given`,
    `interactions_given` before the choice.
    """
    check_folder(output)
    sampler = SAMPLERS.load(request.sampler)
    with hold_whole(log, request.reading, on_read) as store:
        given = read_whole(store)
        sample = sampler(given.interactions, request.users, request.seed)
        rows, items = sample.rows.tocoo().coords
        table = pa.table(
            {
                "user_id": id_column(store, USERS, given.users[sample.users[rows]]),
                "item_id": id_column(store, ITEMS, items),
            }
        )
        write_table(table, output)
    return {
        "sampler": request.sampler,
        "users": len(sample.users),
        "interactions": int(sample.rows.nnz),
        "users_given": len(given.users),
        "interactions_given": int(given.interactions.nnz),
    }


@contextmanager
def hold_whole(
    log: LogFiles, reading: Mapping[str, Any], on_read: IngestListener = ignore_report
) -> Iterator[Store]:
    """Open a store in memory with the log; raise `UserError` if it cannot be read."""
    log = dataclasses.replace(log, settings=dataclasses.replace(log.settings, **reading))
    with Store.open(":memory:") as store:
        # The periods are read together; files that are no periods may overlap in time.
        for report in load_log(store, log, make_cut(log.cut, 1)):
            on_read(report)
        yield store


def read_whole(store: Store) -> UserRows:
    """Read all users with all their interactions; raise `UserError` if the log is empty."""
    periods = list_periods(store)
    if not periods:
        raise UserError("the log has no interactions, so there is nothing to choose from")
    last = periods[-1].period
    return read_rows(store, 1, last, num_items=count_known_items(store, last))


def check_folder(output: Place) -> None:
    """Check, before any work, that a file can be written; `UserError` if its folder is missing."""
    if isinstance(output, RemotePath):
        Bucket(output).require(output)
        return
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; create it first")
