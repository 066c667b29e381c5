"""Summaries in a store for people and for others' programs: what they hold, exported rows."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_array

from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillListener, Summary
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import TrainingRows
from perennial.replay.logs import check_folder, hold_whole, read_whole
from perennial.storage.atomic import replacing
from perennial.storage.errors import UserError
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.objects.bucket import Bucket, Place, RemotePath
from perennial.storage.results.summaries import (
    StoredSummary,
    SummaryRecord,
    find_summary,
    list_summaries,
)
from perennial.storage.store import Store
from perennial.stream.sources.base import LogFiles


@dataclass(frozen=True)
class WeightedItem:
    """An item and the sum of its weights in a summary."""

    item: str | int
    weight: float


@dataclass(frozen=True)
class SummaryView:
    """A summary as `memory show` tells of it.

    Attributes:
        record: what is stored of it.
        items: the most weighted items, heaviest first.
    """

    record: SummaryRecord
    items: tuple[WeightedItem, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        record = self.record
        return {
            "key": record.key,
            "first_period": record.first_period,
            "period": record.period,
            "seed": record.seed,
            "synthetic_users": record.num_rows,
            "num_items": record.num_items,
            "non_zeros": record.num_entries,
            "density": record.density,
            "settings": dict(record.settings),
            "report": dict(record.report),
            "versions": dict(record.versions),
            "created": record.created.isoformat(),
            "stored_bytes": record.stored_bytes,
            "most_weighted": [{"item": one.item, "weight": one.weight} for one in self.items],
        }


def show_summaries(store: Store, num_items: int = 5) -> tuple[SummaryView, ...]:
    """All summaries of a store with their heaviest items."""
    shown = []
    for record in list_summaries(store):
        rows = read_summary(store, record).rows
        weights = np.asarray(rows.sum(axis=0)).ravel()
        order = np.argsort(-weights, kind="stable")[:num_items]
        order = order[weights[order] > 0]
        names: Sequence[str | int] = item_ids(store, order)
        named = zip(names, weights[order].tolist(), strict=True)
        items = tuple(WeightedItem(item, weight) for item, weight in named)
        shown.append(SummaryView(record, items))
    return tuple(shown)


def choose_summaries(
    store: Store, period: int | None, seed: int | None
) -> tuple[SummaryRecord, ...]:
    """The summaries that end with a period and have a seed, oldest first.

    Args:
        store: that holds them.
        period: `None` for any.
        seed: of their draws; `None` for any.

    Raises:
        UserError: there is none.
    """
    chosen = tuple(
        record
        for record in list_summaries(store)
        if period in (None, record.period) and seed in (None, record.seed)
    )
    if not chosen:
        raise UserError(
            f"{store.path}: no such summary; see `perennial memory show`, or make some with "
            "`perennial replay --strategy distill-cf`"
        )
    return chosen


def export_summaries(
    store: Store, path: Place, *, period: int | None = None, seed: int | None = None
) -> int:
    """Write summaries as rows (summary, period, seed, synthetic_user, item_id, weight).

    Args:
        store: that holds them.
        path: a Parquet file, here or on object storage, replaced as a whole.
        period: only summaries that end with this period.
        seed: only summaries with this seed of their draws.

    Returns:
        Summaries written.

    Raises:
        UserError: none is there, or the file cannot be written.
    """
    chosen = choose_summaries(store, period, seed)
    tables = []
    for record in chosen:
        table = summary_table(store, read_summary(store, record).rows)
        for place, (name, value) in enumerate(
            (("summary", record.key), ("period", record.period), ("seed", record.seed))
        ):
            table = table.add_column(place, name, pa.array([value] * table.num_rows))
        tables.append(table)
    write_table(pa.concat_tables(tables), path)
    return len(chosen)


def distil_log(
    store: Store, settings: DistillSettings, seed: int, listener: DistillListener
) -> Summary:
    """Distil all that a store holds, whatever its periods.

    Raises:
        UserError: the log is empty.
    """
    return distill(TrainingRows.of_users(read_whole(store)), settings, seed, listener=listener)


def summary_table(store: Store, rows: csr_array) -> pa.Table:
    """`synthetic_user` (from 0, most useful first), `item_id` as it was ingested, `weight`."""
    coordinates = rows.tocoo()
    users, items = coordinates.coords
    return pa.table(
        {
            "synthetic_user": users.astype(np.int32),
            "item_id": pa.array(item_ids(store, items)),
            "weight": coordinates.data.astype(np.float32),
        }
    )


def write_table(table: pa.Table, path: Place) -> None:
    """Write a Parquet file under another name and rename it, or copy it to object storage whole.

    Raises:
        UserError: it cannot be written; what was there stays.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "table.parquet"
            write_table(table, written)
            Bucket(path).put(written, path)
        return
    try:
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
    except OSError as error:
        reason = error.strerror or "the disk refused it"
        raise UserError(f"{path}: cannot be written ({reason}); name another file") from error


def read_summary(store: Store, record: SummaryRecord) -> StoredSummary:
    """A summary that was listed.

    Raises:
        UserError: it is gone, or damaged.
    """
    found = find_summary(store, record.key)
    if found is None:
        raise UserError(
            f"the summary of period {record.period} vanished while it was read; try again"
        )
    return found


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


@dataclass(frozen=True)
class SampleRequest:
    """What to keep.

    Attributes:
        sampler: a key of `perennial.memory.samplers.registry.SAMPLERS`.
        users: how many at most.
        seed: of all draws.
        reading: fields of `IngestSettings` that differ from the source's own.
    """

    sampler: str
    users: int
    seed: int
    reading: Mapping[str, Any] = field(default_factory=dict)


def sample_to_file(log: LogFiles, request: SampleRequest, output: Place) -> dict[str, Any]:
    """Read the log, choose, write `user_id` and `item_id`, highest priority first.

    Args:
        log: from `stream.sources`.
        request: how.
        output: a Parquet file, here or on object storage, replaced as a whole.

    Returns:
        `users`, `interactions`, and `users_given`, `interactions_given` before the choice.

    Raises:
        UserError: the log cannot be read, or the file cannot be written.
    """
    check_folder(output)
    sampler = SAMPLERS.load(request.sampler)
    with hold_whole(log, request.reading) as store:
        given = read_whole(store)
        found = sampler(given.interactions, request.users, request.seed)
        rows, items = found.rows.tocoo().coords
        table = pa.table(
            {
                "user_id": pa.array(user_ids(store, given.users[found.users[rows]])),
                "item_id": pa.array(item_ids(store, items)),
            }
        )
        write_table(table, output)
    return {
        "sampler": request.sampler,
        "users": len(found.users),
        "interactions": int(found.rows.nnz),
        "users_given": len(given.users),
        "interactions_given": int(given.interactions.nnz),
    }
