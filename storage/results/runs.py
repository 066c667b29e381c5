"""Runs of the replay: configuration, status and cells."""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.storage.results.fits import sweep_model_files
from perennial.storage.results.publications import read_live
from perennial.storage.store import Store

RunStatus = Literal["running", "finished", "interrupted", "live"]


@dataclass(frozen=True)
class Run:
    """One call of the replay.

    Attributes:
        run_id: 1, 2, ... in order of start.
        status: `running` also for a killed run, until the next one starts; `live` for the run of a
            live store, which grows with every period.
        started: UTC without a zone.
        ended: time when it finished or was interrupted, UTC without a zone.
    """

    run_id: int
    status: RunStatus
    config: Mapping[str, Json]
    versions: Mapping[str, str]
    num_cells: int
    started: datetime
    ended: datetime | None = None


def start_run(
    store: Store,
    config: Mapping[str, Json],
    versions: Mapping[str, str],
    num_cells: int,
    started: datetime,
) -> int:
    """Record a new run and return its number; close runs that killed processes left `running`."""
    with store.transaction():
        store.connection.execute("UPDATE runs SET status = 'interrupted' WHERE status = 'running'")
        return insert_run(store, config, versions, num_cells, started, "running")


def insert_run(
    store: Store,
    config: Mapping[str, Json],
    versions: Mapping[str, str],
    num_cells: int,
    started: datetime,
    status: RunStatus,
) -> int:
    """Record a run and return its number; for use inside a transaction."""
    ((run_id,),) = store.rows("SELECT coalesce(max(run_id), 0) + 1 FROM runs")
    store.connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL)",
        [run_id, status, json.dumps(config), json.dumps(versions), num_cells, started],
    )
    return int(run_id)


def continue_run(
    store: Store,
    run_id: int,
    config: Mapping[str, Json],
    versions: Mapping[str, str],
    started: datetime,
) -> int:
    """Record a live run that begins with the cells of another; return its number.

    For use inside a transaction.
    """
    new = insert_run(store, config, versions, 0, started, "live")
    store.connection.execute(
        """INSERT INTO run_cells SELECT * REPLACE (? AS run_id) FROM run_cells
        WHERE run_id = ?""",
        [new, run_id],
    )
    update_num_cells(store, new)
    return new


def update_num_cells(store: Store, run_id: int) -> None:
    """Set the number of cells of a live run to the actual one; for use inside a transaction."""
    store.connection.execute(
        """UPDATE runs SET num_cells = (SELECT count(*) FROM run_cells WHERE run_cells.run_id = ?)
        WHERE run_id = ?""",
        [run_id, run_id],
    )


def evaluated_periods(store: Store, run_id: int) -> frozenset[int]:
    """Return the evaluation periods of a run's cells."""
    rows = store.rows(
        "SELECT eval_period FROM cells JOIN run_cells USING (cell_key) WHERE run_id = ?", [run_id]
    )
    return frozenset(period for (period,) in rows)


def end_run(store: Store, run_id: int, status: RunStatus, ended: datetime) -> None:
    """Record the status and the end of a run."""
    with store.transaction():
        store.connection.execute(
            "UPDATE runs SET status = ?, ended = ? WHERE run_id = ?", [status, ended, run_id]
        )


def insert_run_cell(store: Store, run_id: int, key: str) -> None:
    """Append a cell to a run; for use inside a transaction."""
    store.connection.execute(
        "INSERT INTO run_cells SELECT ?, count(*) + 1, ? FROM run_cells WHERE run_id = ?",
        [run_id, key, run_id],
    )


def list_runs(store: Store) -> tuple[Run, ...]:
    """List all runs, oldest first."""
    rows = store.rows(
        "SELECT run_id, status, config, versions, num_cells, started, ended FROM runs"
        " ORDER BY run_id"
    )
    return tuple(
        Run(run_id, status, json.loads(config), json.loads(versions), num_cells, started, ended)
        for run_id, status, config, versions, num_cells, started, ended in rows
    )


def read_run(store: Store, run_id: int | None = None) -> Run:
    """Read a run by its number, or the newest; raise `UserError` if there is no such run."""
    runs = list_runs(store)
    if not runs:
        raise UserError(
            f"no run in {store.path or 'the store'} yet; make one with `perennial replay --store`"
        )
    if run_id is None:
        return runs[-1]
    for run in runs:
        if run.run_id == run_id:
            return run
    raise UserError(
        f"no run {run_id} in {store.path or 'the store'}; `perennial runs` lists those that it has"
    )


@dataclass(frozen=True)
class RunExtent:
    """Number of recorded cells of a run, and the newest period that they were evaluated on."""

    num_cells: int = 0
    newest_period: int | None = None


def read_extents(store: Store) -> dict[int, RunExtent]:
    """Read the extents of all runs that have cells, by number."""
    rows = store.rows(
        "SELECT run_id, count(*), max(eval_period) FROM run_cells JOIN cells USING (cell_key)"
        " GROUP BY run_id"
    )
    return {run_id: RunExtent(*extent) for run_id, *extent in rows}


@dataclass(frozen=True)
class DeletedResults:
    """Numbers of cells, fits and model files that were deleted with a run."""

    cells: int
    fits: int
    models: int


def delete_run(store: Store, run_id: int) -> DeletedResults:
    """Delete a run with the cells, fits and models that no other run and no publication uses.

    Summaries stay, since they belong to no run.

    Raises:
        UserError: there is no such run, or it is the run of the live model.
    """
    read_run(store, run_id)
    live = read_live(store)
    if live is not None and live.run_id == run_id:
        raise UserError(
            f"run {run_id} is the run of the live model and cannot be deleted; "
            "`perennial init --replace` starts a new one"
        )
    with store.transaction():
        own = store.rows(
            "SELECT cell_key, fit_key, evaluation_key FROM cells WHERE cell_key IN ("
            " SELECT cell_key FROM run_cells WHERE run_id = $1"
            " EXCEPT SELECT cell_key FROM run_cells WHERE run_id <> $1)",
            [run_id],
        )
        cells, fits, evaluations = ({keys[column] for keys in own} for column in range(3))
        for table in ("runs", "run_cells"):
            store.connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
        for table in ("figures", "cells"):
            _delete_keys(store, table, "cell_key", cells)
        used = store.rows("SELECT fit_key FROM cells UNION SELECT fit_key FROM publications")
        fits -= {key for (key,) in used}
        _delete_keys(store, "fits", "fit_key", fits)
        models = _delete_keys(store, "model_files", "fit_key", fits)
        used = store.rows("SELECT DISTINCT evaluation_key FROM cells")
        _delete_keys(store, "evaluations", "evaluation_key", evaluations - {key for (key,) in used})
    sweep_model_files(store)
    return DeletedResults(len(cells), len(fits), models)


def _delete_keys(store: Store, table: str, column: str, keys: Set[str]) -> int:
    """Delete the rows of some keys; return their number."""
    deleted = store.connection.execute(
        f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::VARCHAR[]))", [sorted(keys)]
    )
    ((count,),) = deleted.fetchall()
    return int(count)
