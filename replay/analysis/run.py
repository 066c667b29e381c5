"""Runs of a store, data of a run or of some of its periods, and the costs of its strategies."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.storage.base import Json, sparse_bytes
from perennial.storage.errors import UserError
from perennial.storage.log.periods import PeriodSummary, list_periods
from perennial.storage.results.cells import (
    Cell,
    EvaluatedUsers,
    UserFigure,
    read_cells,
    read_evaluated_users,
    read_user_figures,
)
from perennial.storage.results.publications import read_live
from perennial.storage.results.runs import Run, RunExtent, list_runs, read_extents, read_run
from perennial.storage.store import Store


@dataclass(frozen=True)
class RunData:
    """Data of a run up to period `until`, if set; users by `evaluation_key`, figures by `key`."""

    run: Run
    periods: tuple[PeriodSummary, ...]
    cells: tuple[Cell, ...]
    evaluated_users: Mapping[str, EvaluatedUsers]
    user_figures: Mapping[str, tuple[UserFigure, ...]]
    until: int | None = None


def load_run(
    store: Store, run_id: int | None = None, *, users: bool = True, until: int | None = None
) -> RunData:
    """Read a run, the newest without a number; `UserError` if there is none, or no period is left.

    Figures user by user are read with `users`, and evaluated periods up to `until`.
    """
    run = read_run(store, run_id)
    num_periods = int(run.config.get("periods", 0))
    data = RunData(
        run=run,
        periods=tuple(p for p in list_periods(store) if p.period <= num_periods),
        cells=read_cells(store, run.run_id),
        evaluated_users=read_evaluated_users(store, run.run_id),
        user_figures=read_user_figures(store, run.run_id) if users else {},
    )
    if until is None:
        return data
    shortened = until_period(data, until)
    if data.cells and not shortened.cells:
        raise UserError(
            f"run {run.run_id} evaluated no period up to {until}; give a larger --until-period"
        )
    return shortened


@dataclass(frozen=True)
class ListedRun:
    """A run of a store, its extent, and `is_current`, False for a live run that was replaced."""

    run: Run
    extent: RunExtent
    is_current: bool

    @property
    def status(self) -> str:
        """Status of the run; `replaced` for a live run that is no longer the live model's."""
        return self.run.status if self.is_current or self.run.status != "live" else "replaced"

    def to_json(self) -> dict[str, Json]:
        """Return plain values; times are ISO 8601 in UTC."""
        run = self.run
        return {
            "run": run.run_id,
            "status": self.status,
            "started": run.started.isoformat(),
            "ended": run.ended and run.ended.isoformat(),
            "cells": self.extent.num_cells,
            "planned_cells": run.num_cells,
            "newest_period": self.extent.newest_period,
            "config": dict(run.config),
            "versions": dict(run.versions),
        }


def show_runs(store: Store) -> tuple[ListedRun, ...]:
    """List the runs of a store with their extents, oldest first."""
    extents, live = read_extents(store), read_live(store)
    return tuple(
        ListedRun(
            run,
            extents.get(run.run_id, RunExtent()),
            live is not None and live.run_id == run.run_id,
        )
        for run in list_runs(store)
    )


def flatten(settings: Mapping[str, Json], within: str = "") -> Iterator[tuple[str, Json]]:
    """Yield nested settings by dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{within}{name}.")
        else:
            yield within + name, value


def from_period(data: RunData, first: int) -> RunData:
    """Select the cells that were evaluated on periods from `first` on."""
    cells = tuple(cell for cell in data.cells if cell.eval_period >= first)
    return dataclasses.replace(data, cells=cells)


def until_period(data: RunData, last: int) -> RunData:
    """Select the cells of a log that ends with period `last`."""
    cells = tuple(cell for cell in data.cells if is_within(cell, last))
    if len(cells) == len(data.cells):
        return data
    users = {key: one for key, one in data.evaluated_users.items() if one.eval_period <= last}
    return dataclasses.replace(data, cells=cells, evaluated_users=users, until=last)


def is_within(cell: Cell, last: int) -> bool:
    """Check that a cell is one of a log that ends with period `last`."""
    return max(cell.eval_period, cell.fit_period + 1) <= last


@dataclass(frozen=True)
class Cost:
    """Costs of a strategy with a model, for one seed.

    Attributes:
        memory_seconds: of updates of the memory; models share it, and the first one bears it.
        kept_interactions: needed by the last refit besides those of its own period.
        kept_bytes: of these, and of the previous period's model if it was needed.
        memory_bytes: of the rows alone.
        log_bytes: of the periods that the rows stand for.
    """

    strategy: str
    model: str
    num_refits: int
    fit_seconds: float
    memory_seconds: float
    kept_rows: int
    kept_interactions: int
    kept_bytes: int
    memory_bytes: int
    log_bytes: int


def count_costs(data: RunData) -> tuple[Cost, ...]:
    """Compute the costs of each model and strategy of a run, averaged over seeds."""
    costs = []
    for model, strategy in dict.fromkeys((cell.model, cell.strategy) for cell in data.cells):
        cells = [cell for cell in data.cells if (cell.model, cell.strategy) == (model, strategy)]
        seeds = len({cell.seed for cell in cells})
        last = max(cell.fit_period for cell in cells)
        reports = [cell.fit_report for cell in cells if cell.fit_period == last]

        def mean(name: str, reports: Sequence[Mapping[str, Json]] = reports) -> int:
            return round(float(np.mean([one.get(name, 0) for one in reports])))

        rows, entries = mean("kept_rows"), mean("kept_interactions")
        costs.append(
            Cost(
                strategy,
                model,
                num_refits=len(cells) // seeds,
                fit_seconds=sum(cell.stages.get("fit", 0.0) for cell in cells) / seeds,
                memory_seconds=sum(cell.stages.get("memory", 0.0) for cell in cells) / seeds,
                kept_rows=rows,
                kept_interactions=entries,
                kept_bytes=sparse_bytes(rows, entries) + mean("kept_model_bytes"),
                memory_bytes=mean("memory_bytes"),
                log_bytes=mean("log_bytes"),
            )
        )
    return tuple(costs)
