"""Copying results into a store with a changed log.

Summaries and models of changed periods are dropped, to be made again. Figures are kept as
measurements of their time, without the values of removed users.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.log.matrices import Events
from perennial.storage.results.cells import make_list_column, read_list_column
from perennial.storage.store import Store

_UNCHANGED = ("ingests", "ingested_files", "rejects", "conditions", "runs", "live")
_BEFORE = {
    "publications": "SELECT * FROM publications WHERE period < $1 ORDER BY rowid",
    "summaries": "SELECT * FROM summaries WHERE period < $1 ORDER BY rowid",
    "summary_entries": """SELECT e.* FROM summary_entries e JOIN summaries USING (summary_key)
        WHERE period < $1 ORDER BY e.rowid""",
    "model_files": """SELECT * FROM model_files WHERE fit_key IN (
            SELECT fit_key FROM cells WHERE fit_period < $1
            UNION SELECT fit_key FROM publications WHERE period < $1) ORDER BY rowid""",
}
"""Table -> query of the rows that depend only on periods before a given one."""

RECORDS = (*_UNCHANGED, *_BEFORE, "evaluations", "cells", "figures", "run_cells", "fits", "titles")
"""All tables but those of the log."""


@dataclass(frozen=True)
class Renumbering:
    """Difference of a changed log from the old one.

    Attributes:
        users: `(n,)` int32, new index of each old user; −1 if removed.
        first_changed: first period whose events have changed.
        first_lost: first renumbered period; figures about it and later ones are dropped. `None` if
            the numbers stay.
    """

    users: NDArray[np.int32]
    first_changed: int
    first_lost: int | None = None


def copy_tables(old: Store, new: Store, tables: Sequence[str]) -> None:
    """Copy whole tables, for use inside a transaction of `new`."""
    for table in tables:
        new.insert(table, old.table(f"SELECT * FROM {table} ORDER BY rowid"))


def with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """Return a table with one column `(n,)` replaced."""
    return table.set_column(table.schema.get_field_index(name), name, column)


def insert_dropped(new: Store, periods: pa.Table, histories: Events) -> None:
    """Insert the dropped periods, the first ones of a store, and the events that stay of them."""
    kept = np.bincount(histories.periods, minlength=periods.num_rows + 1)[1:]
    for name, column in (
        ("kept", pa.array(kept, pa.int64())),
        ("first_row", pa.array(np.cumsum(kept) - kept, pa.int64())),
        ("dropped", pa.array([True] * len(kept), pa.bool_())),
    ):
        periods = with_column(periods, name, column)
    new.insert("periods", periods)
    insert_events(new, histories)


def insert_events(new: Store, events: Events) -> None:
    """Append events to the log of a store."""
    columns = {"user_index": events.users, "item_index": events.items, "time": events.times}
    new.insert("interactions", pa.table(columns))


def copy_records(old: Store, new: Store, change: Renumbering) -> None:
    """Copy the results that are still valid, for use inside a transaction of `new`."""
    copy_tables(old, new, _UNCHANGED)
    for table, query in _BEFORE.items():
        new.insert(table, old.table(query, [change.first_changed]))
    _copy_figures(old, new, change)
    _copy_fits(old, new)
    _copy_titles(old, new)


def _copy_fits(old: Store, new: Store) -> None:
    """Copy the fits of figures and publications that stay; a deleted model leaves no report."""
    kept = new.table("SELECT fit_key FROM cells UNION SELECT fit_key FROM publications")
    query = "SELECT * FROM fits WHERE fit_key IN (SELECT fit_key FROM kept) ORDER BY rowid"
    new.insert("fits", old.table(query, inputs={"kept": kept}))


def _copy_titles(old: Store, new: Store) -> None:
    """Copy the titles of items that still occur, and of those that did not occur before.

    An item of dropped periods occurs if its events are counted; else it is only a number.
    """
    occurring = "SELECT id FROM items WHERE item_index IN (SELECT item_index FROM {})"
    remaining = (
        f"{occurring.format('interactions')} UNION {occurring.format('dropped_item_counts')}"
    )
    query = f"""SELECT * FROM titles WHERE item_id IN (SELECT id FROM remaining)
        OR item_id NOT IN ({occurring.format("interactions")}) ORDER BY rowid"""
    new.insert("titles", old.table(query, inputs={"remaining": new.table(remaining)}))


def _copy_figures(old: Store, new: Store, change: Renumbering) -> None:
    """Copy cells, evaluations and figures, without removed users."""
    last = 2**31 - 1 if change.first_lost is None else change.first_lost - 1
    within = "eval_period <= $1 AND fit_period <= $1"
    cells = old.table(f"SELECT * FROM cells WHERE {within} ORDER BY rowid", [last])
    new.insert("cells", cells)
    linked = old.table("SELECT * FROM run_cells ORDER BY rowid")
    new.insert(
        "run_cells",
        linked.filter(pc.is_in(linked["cell_key"], value_set=cells["cell_key"].combine_chunks())),
    )
    evaluations = old.table(f"SELECT * FROM evaluations WHERE {within} ORDER BY rowid", [last])
    renamed = [change.users[users] for users in read_list_column(evaluations, "users")]
    kept = [users >= 0 for users in renamed]
    present = [users[mask] for users, mask in zip(renamed, kept, strict=True)]
    new.insert(
        "evaluations", with_column(evaluations, "users", make_list_column(present, pa.int32()))
    )
    masks = dict(zip(evaluations["evaluation_key"].to_pylist(), kept, strict=True))
    _copy_values(old, new, cells, masks)


def _copy_values(
    old: Store, new: Store, cells: pa.Table, masks: dict[str, NDArray[np.bool_]]
) -> None:
    """Copy the figures of cells; the mean is computed again if a user was removed."""
    mask_of = {
        key: masks[evaluation]
        for key, evaluation in zip(
            cells["cell_key"].to_pylist(), cells["evaluation_key"].to_pylist(), strict=True
        )
    }
    figures = old.table("SELECT * FROM figures ORDER BY rowid")
    figures = figures.filter(
        pc.is_in(figures["cell_key"], value_set=pa.array(list(mask_of), pa.string()))
    )
    values, weights, means = [], [], figures["value"].to_pylist()
    for row, (key, value, weight) in enumerate(
        zip(
            figures["cell_key"].to_pylist(),
            read_list_column(figures, "user_values"),
            read_list_column(figures, "user_weights"),
            strict=True,
        )
    ):
        mask = mask_of[key]
        values.append(value[mask])
        weights.append(None if weight is None else weight[mask])
        if not mask.all():
            means[row] = _mean(values[-1], weights[-1])
    for name, column in (
        ("value", pa.array(means, pa.float64())),
        ("user_values", make_list_column(values, pa.float32())),
        ("user_weights", make_list_column(weights, pa.float32())),
    ):
        figures = with_column(figures, name, column)
    new.insert("figures", figures)


def _mean(values: NDArray[np.float32], weights: NDArray[np.float32] | None) -> float | None:
    """Compute the weighted mean of `(n,)` values; `None` if all weights are 0."""
    heavy = np.ones(len(values)) if weights is None else weights.astype(np.float64)
    if not heavy.sum() > 0:
        return None
    return float(np.average(values.astype(np.float64), weights=heavy))
