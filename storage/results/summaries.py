"""Summaries in the store: sets of synthetic users, stored as (row, item, weight)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Json, sparse_bytes
from perennial.storage.errors import UserError
from perennial.storage.store import Store

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class SummaryRecord:
    """Everything about a summary but its rows.

    Attributes:
        first_period: first period that it summarises; `period` is the last.
        report: losses, validation, steps, seconds, device, ...
        num_items: width of the rows when they were made.
    """

    key: str
    first_period: int
    period: int
    seed: int
    settings: Mapping[str, Json]
    report: Mapping[str, Json]
    versions: Mapping[str, str]
    num_rows: int
    num_items: int
    num_entries: int
    created: datetime

    @property
    def density(self) -> float:
        """Stored share of all (row, item) pairs; 0 without rows."""
        cells = self.num_rows * self.num_items
        return self.num_entries / cells if cells else 0.0

    @property
    def stored_bytes(self) -> int:
        """Bytes of its rows."""
        return sparse_bytes(self.num_rows, self.num_entries)


@dataclass(frozen=True)
class StoredSummary:
    """A summary of the store.

    Its rows are `(num_rows, num_items)` float32 in (0, 1], columns in increasing order. An item's
    index never changes, so a later catalogue only widens them.
    """

    record: SummaryRecord
    rows: "csr_array"


_COLUMNS = """summary_key, first_period, period, seed, settings, report, versions, num_rows,
    num_items, num_entries, created"""
_FIELDS = tuple(field.name for field in fields(SummaryRecord))
"""Fields of a record in the order of the columns."""
_JSON_FIELDS = ("settings", "report", "versions")


def find_summary(store: Store, key: str) -> StoredSummary | None:
    """Read a summary by its key, `None` if there is none; raise `UserError` if it is damaged."""
    from scipy.sparse import csr_array

    rows = store.rows(f"SELECT {_COLUMNS} FROM summaries WHERE summary_key = ?", [key])
    if not rows:
        return None
    record = _record(rows[0])
    entries = _read_entries(store, record)
    offsets = np.searchsorted(entries["row"], np.arange(record.num_rows + 1)).astype(np.int32)
    weights, items = entries["weight"].astype(np.float32), entries["item_index"].astype(np.int32)
    matrix = csr_array((weights, items, offsets), shape=(record.num_rows, record.num_items))
    return StoredSummary(record, matrix)


def read_item_weights(store: Store, record: SummaryRecord) -> NDArray[np.float32]:
    """Read the sum of the weights of each item, `(num_items,)` float32; see `find_summary`."""
    entries = _read_entries(store, record)
    totals = np.zeros(record.num_items, np.float32)
    np.add.at(totals, entries["item_index"], entries["weight"])
    return totals


def insert_summary(store: Store, summary: StoredSummary) -> None:
    """Record a summary in one transaction; keep an older one with the same key."""
    record = summary.record
    values = vars(record) | {
        name: json.dumps(dict(getattr(record, name)), allow_nan=name != "report")
        for name in _JSON_FIELDS
    }
    values["created"] = record.created.replace(tzinfo=None)
    coordinates = summary.rows.tocoo()
    entries = pa.table(
        {
            "summary_key": pa.array([record.key] * len(coordinates.data), pa.string()),
            "row": coordinates.coords[0].astype(np.int32),
            "item_index": coordinates.coords[1].astype(np.int32),
            "weight": coordinates.data.astype(np.float32),
        }
    )
    with store.transaction() as connection:
        if store.rows("SELECT 1 FROM summaries WHERE summary_key = ?", [record.key]):
            return
        connection.execute(
            f"INSERT INTO summaries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [*values.values()],
        )
        store.insert("summary_entries", entries)


def list_summaries(store: Store) -> tuple[SummaryRecord, ...]:
    """List all summaries, by period, seed and age."""
    rows = store.rows(
        f"SELECT {_COLUMNS} FROM summaries ORDER BY period, seed, created, summary_key"
    )
    return tuple(_record(row) for row in rows)


def _record(row: tuple[Any, ...]) -> SummaryRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    return SummaryRecord(**values | {name: json.loads(values[name]) for name in _JSON_FIELDS})


def _read_entries(store: Store, record: SummaryRecord) -> dict[str, NDArray[Any]]:
    """Read row, item_index and weight of a summary, and check that they can be what was written."""
    entries = store.arrays(
        """SELECT row, item_index, weight FROM summary_entries WHERE summary_key = ?
        ORDER BY row, item_index""",
        [record.key],
    )
    rows, items, weights = entries["row"], entries["item_index"], entries["weight"]
    sound = (
        len(rows) == record.num_entries
        and bool(np.isfinite(weights).all() and (weights > 0).all() and (weights <= 1).all())
        and bool((items >= 0).all() and (items < record.num_items).all())
        and np.array_equal(np.unique(rows), np.arange(record.num_rows))
        and not bool(((np.diff(rows) == 0) & (np.diff(items) == 0)).any())
    )
    if not sound:
        raise UserError(
            f"the summary of period {record.period} is damaged in the store; delete the store's "
            "copy of it by a replay with --fresh into another store, or restore a backup"
        )
    return entries
