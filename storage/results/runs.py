"""Runs of the replay: configuration, status and cells."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perennial.storage.base import Json
from perennial.storage.errors import UserError
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
    raise UserError(f"no run {run_id} in {store.path or 'the store'}; it has 1 to {len(runs)}")
