"""Summaries in a store: listed with their heaviest items, and exported as rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods, log_bytes
from perennial.storage.log.vocabulary import ITEMS, id_column, item_ids
from perennial.storage.objects.bucket import Place
from perennial.storage.objects.table_files import write_table
from perennial.storage.reading.identifier_forms import to_json_identifier
from perennial.storage.results.summaries import (
    StoredSummary,
    SummaryRecord,
    find_summary,
    list_summaries,
    read_item_weights,
)
from perennial.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class WeightedItem:
    """An item and the sum of its weights in a summary."""

    item: str | int
    weight: float


@dataclass(frozen=True)
class SummaryView:
    """A summary as `memory show` prints it: the heaviest items first, and the bytes of its log."""

    record: SummaryRecord
    items: tuple[WeightedItem, ...]
    log_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        record = self.record
        weighted = [
            {"item": to_json_identifier(one.item), "weight": one.weight} for one in self.items
        ]
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
            "log_bytes": self.log_bytes,
            "most_weighted": weighted,
        }


def show_summaries(store: Store, num_items: int = 5) -> tuple[SummaryView, ...]:
    """Read all summaries of a store with their heaviest items."""
    shown, periods = [], list_periods(store)
    for record in list_summaries(store):
        weights = read_item_weights(store, record)
        order = np.argsort(-weights, kind="stable")[:num_items]
        order = order[weights[order] > 0]
        named = zip(item_ids(store, order), weights[order].tolist(), strict=True)
        items = tuple(WeightedItem(item, weight) for item, weight in named)
        size = log_bytes(periods, record.first_period, record.period)
        shown.append(SummaryView(record, items, size))
    return tuple(shown)


def choose_summaries(
    store: Store, period: int | None, seed: int | None
) -> tuple[SummaryRecord, ...]:
    """List the summaries of a period and a seed, or any, oldest first; `UserError` if none."""
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

    The file, here or on object storage, is replaced as a whole. It has the summaries that
    `choose_summaries` lists; their number is returned.

    Raises:
        UserError: there is none, or the file cannot be written.
    """
    chosen = choose_summaries(store, period, seed)
    import pyarrow as pa

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


def summary_table(store: Store, rows: "csr_array") -> "pa.Table":
    """Make a table of `synthetic_user` (from 0, most useful first), `item_id` and `weight`."""
    import pyarrow as pa

    coordinates = rows.tocoo()
    users, items = coordinates.coords
    return pa.table(
        {
            "synthetic_user": users.astype(np.int32),
            "item_id": id_column(store, ITEMS, items),
            "weight": coordinates.data.astype(np.float32),
        }
    )


def read_summary(store: Store, record: SummaryRecord) -> StoredSummary:
    """Read a listed summary; raise `UserError` if it has been deleted, or is damaged."""
    summary = find_summary(store, record.key)
    if summary is None:
        raise UserError(
            f"the summary of period {record.period} vanished while it was read; try again"
        )
    return summary
