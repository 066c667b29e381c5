"""Runs whose figures a test chooses."""

from datetime import datetime

import numpy as np

from perennial.replay.analysis.run import RunData
from perennial.storage.results.cells import Cell, EvaluatedUsers, Figure, UserFigure
from perennial.storage.results.runs import Run

HR = ("HR", 10)
NOW = datetime(2025, 1, 1)
RUN = Run(3, "finished", {"seeds": [0], "periods": 3}, {"jax": "0"}, 4, NOW, NOW)


def make_run(values, run=RUN, *, draws_at_random=False):
    """A run from {(strategy, model, seed, period): {(metric, k): values or (values, weights)}}."""
    cells, judged, user_figures = [], {}, {}
    for (strategy, model, seed, period), metrics in values.items():
        figures, by_user = [], []
        for (metric, k), given in metrics.items():
            numbers, weights = given if isinstance(given, tuple) else (given, None)
            mean = float(np.average(numbers, weights=weights)) if len(numbers) else None
            figures.append(Figure(metric, k, mean, len(numbers)))
            by_user.append(
                UserFigure(
                    metric,
                    k,
                    np.array(numbers, np.float32),
                    None if weights is None else np.array(weights, np.float32),
                )
            )
        key = f"{strategy} {model} {seed} {period}"
        asked = f"asked {period}"
        judged[asked] = EvaluatedUsers(
            asked, period - 1, period, np.arange(len(numbers), dtype=np.int32), {}
        )
        cells.append(
            Cell(
                key=key,
                fit_key=key,
                evaluation_key=asked,
                strategy=strategy,
                model=model,
                seed=seed,
                fit_period=period - 1,
                eval_period=period,
                figures=tuple(figures),
                fit_report={"draws_at_random": draws_at_random},
                stages={"fit": 2.0},
                peak_rss_bytes=1000,
                versions={},
                finished=NOW,
            )
        )
        user_figures[key] = tuple(by_user)
    return RunData(run, (), tuple(cells), judged, user_figures)


def texts(table):
    """Return the texts of a table's cells, row by row."""
    return [[entry.text for entry in row] for row in table.rows]
