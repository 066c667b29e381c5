"""Whose recommendations a strategy makes better: `python -m benchmarks.returning_users STORE`.

Splits the users judged in a run of `perennial study continual` (or `replay`) into those whom no
earlier period has and those who return, and compares one strategy with each other one on both.
`joint` has the earlier rows of the users who return, which a summary of a few hundred rows cannot.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from perennial.replay.analysis.run import RunData, load_run
from perennial.storage.store import Store

METRICS = (("HR", 10), ("nDCG", 10), ("HR", 100))

Values = Mapping[tuple[str, str, str, int | None], list[NDArray[np.float64]]]


def split_values(data: RunData, first_period: NDArray[np.int64], *, new: bool) -> Values:
    """Model, strategy and metric -> values of all judged users of one kind, seeds averaged."""
    by_cell: dict[tuple[str, str, str, int | None], dict[int, list[NDArray[np.float64]]]] = {}
    for cell in data.cells:
        users = data.judged[cell.evaluation_key].users
        chosen = (first_period[users] == cell.eval_period) == new
        for figure in data.user_figures[cell.key]:
            if (figure.metric, figure.k) in METRICS:
                group = cell.model, cell.strategy, figure.metric, figure.k
                periods = by_cell.setdefault(group, {})
                periods.setdefault(cell.eval_period, []).append(figure.values[chosen])
    return {
        group: [np.mean(periods[period], axis=0) for period in sorted(periods)]
        for group, periods in by_cell.items()
    }


def difference(mine: list[NDArray[np.float64]], other: list[NDArray[np.float64]]) -> str:
    """Mean over users of all periods, ± its standard error."""
    values = np.concatenate(mine) - np.concatenate(other)
    return f"{values.mean():+.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="holds the run")
    parser.add_argument("--run", type=int, help="its number; the newest unless told")
    parser.add_argument("--strategy", default="distill-cf")
    arguments = parser.parse_args()
    with Store.open(arguments.store, read_only=True) as store:
        data = load_run(store, arguments.run)
        rows = store.rows("SELECT first_period FROM users ORDER BY user_index")
    first_period = np.array([period for (period,) in rows])
    kinds = {
        "new": split_values(data, first_period, new=True),
        "returning": split_values(data, first_period, new=False),
    }
    table = Table(title=f"{arguments.strategy} less each other strategy", box=None)
    for column in ("model", "less", "users", *(f"{metric}@{k}" for metric, k in METRICS)):
        table.add_column(column)
    for model in dict.fromkeys(cell.model for cell in data.cells):
        for other in dict.fromkeys(cell.strategy for cell in data.cells):
            if other == arguments.strategy:
                continue
            for kind, values in kinds.items():
                count = sum(map(len, values[model, other, *METRICS[0]]))
                shown = [
                    difference(values[model, arguments.strategy, *one], values[model, other, *one])
                    for one in METRICS
                ]
                table.add_row(model, other, f"{count:,} {kind}", *shown)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
