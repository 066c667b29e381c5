"""Cells: one evaluated fit of a chain, its figures, and the values of every user.

A cell has a key, a hash of everything that it depends on, so that several runs share it, and is
written in one transaction. The evaluated users are the same for every strategy and model, so they
are stored once per evaluation and not with each cell.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Json
from perennial.storage.store import Store


def make_list_column(
    arrays: Sequence[NDArray[np.float32] | NDArray[np.int32] | None], kind: pa.DataType
) -> pa.ListArray:
    """Build a column of lists of type `kind` from arrays `(any length,)`; a null for a `None`."""
    lengths = [0 if array is None else len(array) for array in arrays]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    parts = [array for array in arrays if array is not None]
    values = np.concatenate(parts) if parts else np.empty(0)
    missing = pa.array([array is None for array in arrays], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind), mask=missing)


def read_list_column(table: pa.Table, column: str) -> list[Any]:
    """Return the lists of a column as NumPy arrays `(any length,)`, `None` for a null."""
    return [
        row.values.to_numpy(zero_copy_only=False) if row.is_valid else None
        for chunk in table.column(column).chunks
        for row in chunk
    ]


@dataclass(frozen=True)
class EvaluatedUsers:
    """The evaluated users of a period, and numbers of skipped users and dropped items.

    Attributes:
        key: hash of everything that the evaluation depends on.
        fit_period: last period that the models have seen.
        users: `(n,)` int32 dense indices.
        counts: the fields of `perennial.stream.evaluation.EvaluationCounts`.
    """

    key: str
    fit_period: int
    eval_period: int
    users: NDArray[np.int32]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Figure:
    """Value of one metric of one cell, `None` if no user has any weight; see `UserFigure`."""

    metric: str
    k: int | None
    value: float | None
    num_users: int


@dataclass(frozen=True)
class UserFigure:
    """Values of one metric of one cell, one per user in the order of `EvaluatedUsers.users`.

    Attributes:
        k: cutoff; `None` for a metric of the whole ranking.
        values: `(n,)` float32.
        weights: `(n,)` float32, or `None` if every user counts the same.
    """

    metric: str
    k: int | None
    values: NDArray[np.float32]
    weights: NDArray[np.float32] | None


@dataclass(frozen=True)
class Cell:
    """One evaluated fit of a chain.

    Attributes:
        key: hash of everything that the cell depends on.
        fit_key: key of the fit (`perennial.storage.results.fits`).
        fit_report: report of the fit (`perennial.storage.results.fits`).
        peak_rss_bytes: largest resident size of the process until the cell was finished.
        versions: as in `perennial.storage.results.runs.Run`, when the cell was made.
        finished: UTC without a zone.
    """

    key: str
    fit_key: str
    evaluation_key: str
    strategy: str
    model: str
    seed: int
    fit_period: int
    eval_period: int
    figures: tuple[Figure, ...]
    fit_report: Mapping[str, Json]
    stages: Mapping[str, float]
    peak_rss_bytes: int
    versions: Mapping[str, str]
    finished: datetime


def has_cell(store: Store, key: str) -> bool:
    """Return True if a cell is recorded."""
    return bool(store.rows("SELECT 1 FROM cells WHERE cell_key = ?", [key]))


def insert_cell(
    store: Store, cell: Cell, evaluated: EvaluatedUsers, user_figures: Sequence[UserFigure]
) -> None:
    """Record a cell, replacing one with the same key; for use inside a transaction.

    The fit is recorded separately, and the evaluated users once for all cells of the evaluation.
    `user_figures` are in the order of the cell's figures.
    """
    connection = store.connection
    for table in ("cells", "figures"):
        connection.execute(f"DELETE FROM {table} WHERE cell_key = ?", [cell.key])
    connection.execute(
        "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(cell.key, cell.fit_key, cell.evaluation_key, cell.strategy, cell.model, cell.seed),
            *(cell.fit_period, cell.eval_period, json.dumps(dict(cell.stages))),
            *(cell.peak_rss_bytes, json.dumps(dict(cell.versions)), cell.finished),
        ],
    )
    if user_figures:
        _insert_figures(store, cell, user_figures)
    if not store.rows("SELECT 1 FROM evaluations WHERE evaluation_key = ?", [evaluated.key]):
        _insert_evaluated(store, evaluated)


def read_cells(store: Store, run_id: int) -> tuple[Cell, ...]:
    """Read the cells of a run, in the order in which it finished them."""
    figures: dict[str, list[Figure]] = {}
    for key, *fields in store.rows(
        "SELECT cell_key, metric, k, value, len(user_values) FROM figures"
        " JOIN run_cells USING (cell_key) WHERE run_id = ? ORDER BY cell_key, figures.ordinal",
        [run_id],
    ):
        figures.setdefault(key, []).append(Figure(*fields))
    rows = store.rows(
        "SELECT cell_key, fit_key, evaluation_key, strategy, model, seed, fit_period, eval_period,"
        " report, stages, peak_rss_bytes, versions, finished"
        " FROM run_cells JOIN cells USING (cell_key) JOIN fits USING (fit_key)"
        " WHERE run_id = ? ORDER BY run_cells.ordinal",
        [run_id],
    )
    found = []
    for key, *settings, report, stages, peak, versions, finished in rows:
        fields = [key, *settings, tuple(figures.get(key, ())), json.loads(report)]
        fields += [json.loads(stages), peak, json.loads(versions), finished]
        found.append(Cell(*fields))
    return tuple(found)


def read_evaluated_users(store: Store, run_id: int) -> dict[str, EvaluatedUsers]:
    """Read the evaluated users of a run by `Cell.evaluation_key`, in order of period."""
    table = store.table(
        "SELECT * FROM evaluations WHERE evaluation_key IN ("
        " SELECT evaluation_key FROM cells JOIN run_cells USING (cell_key) WHERE run_id = ?)"
        " ORDER BY eval_period, evaluation_key",
        [run_id],
    )
    columns = ("evaluation_key", "fit_period", "eval_period", "counts")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return {
        key: EvaluatedUsers(key, fit_period, eval_period, users, json.loads(counts))
        for (key, fit_period, eval_period, counts), users in zip(
            rows, read_list_column(table, "users"), strict=True
        )
    }


def read_user_figures(store: Store, run_id: int) -> dict[str, tuple[UserFigure, ...]]:
    """Read the values of every user of a run, by `Cell.key`."""
    table = store.table(
        "SELECT cell_key, metric, k, user_values, user_weights FROM figures"
        " JOIN run_cells USING (cell_key) WHERE run_id = ? ORDER BY cell_key, figures.ordinal",
        [run_id],
    )
    figures: dict[str, tuple[UserFigure, ...]] = {}
    for key, *fields in zip(
        *(table[name].to_pylist() for name in ("cell_key", "metric", "k")),
        *(read_list_column(table, name) for name in ("user_values", "user_weights")),
        strict=True,
    ):
        figures[key] = (*figures.get(key, ()), UserFigure(*fields))
    return figures


def _insert_figures(store: Store, cell: Cell, user_figures: Sequence[UserFigure]) -> None:
    """Record the figures of a cell through Arrow, without a Python loop over users."""
    rows = pa.table(
        {
            "cell_key": [cell.key] * len(cell.figures),
            "ordinal": pa.array(range(len(cell.figures)), pa.int32()),
            "metric": [figure.metric for figure in cell.figures],
            "k": pa.array([figure.k for figure in cell.figures], pa.int32()),
            "value": pa.array([figure.value for figure in cell.figures], pa.float64()),
            "user_values": make_list_column([one.values for one in user_figures], pa.float32()),
            "user_weights": make_list_column([one.weights for one in user_figures], pa.float32()),
        }
    )
    store.insert("figures", rows)


def _insert_evaluated(store: Store, evaluated: EvaluatedUsers) -> None:
    rows = pa.table(
        {
            "evaluation_key": [evaluated.key],
            "fit_period": pa.array([evaluated.fit_period], pa.int32()),
            "eval_period": pa.array([evaluated.eval_period], pa.int32()),
            "users": make_list_column([evaluated.users], pa.int32()),
            "counts": [json.dumps(dict(evaluated.counts))],
        }
    )
    store.insert("evaluations", rows)
