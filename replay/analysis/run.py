"""Data of a run, or of some of its periods."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

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
from perennial.storage.results.runs import Run, read_run
from perennial.storage.store import Store


@dataclass(frozen=True)
class RunData:
    """Data of a run: evaluated users by `Cell.evaluation_key`, user figures by `Cell.key`.

    Evaluated periods after `until`, if it is set, are left out.
    """

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
