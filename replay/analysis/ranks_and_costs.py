"""Ranks and costs of the strategies of a run."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from perennial.replay.analysis.run import RunData
from perennial.replay.analysis.summary import RunSummary

_ENTRY_BYTES = 8
"""Size of a replayed interaction: an item's index and a weight of four bytes each."""


@dataclass(frozen=True)
class Rank:
    """Rank of a strategy among those with the same model; 1 is best.

    `rank` is the mean over the evaluated periods that all of them have, where equal ones share
    ranks; `of_mean` is the rank by the mean over these periods.
    """

    strategy: str
    model: str
    metric: str
    k: int | None
    rank: float
    of_mean: float
    periods: int
    eval_periods: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Costs of a strategy with a model, for one seed.

    Attributes:
        memory_seconds: of updates of the memory; models share it, and the first one bears it.
        kept_rows: rows replayed at the last refit.
        kept_interactions: needed by the last refit besides those of its own period.
        kept_bytes: of these, and of the previous period's model if it was needed.
    """

    strategy: str
    model: str
    num_refits: int
    fit_seconds: float
    memory_seconds: float
    kept_rows: int
    kept_interactions: int
    kept_bytes: int


def rank_strategies(summary: RunSummary) -> tuple[Rank, ...]:
    """Rank the strategies of each model in each metric, over their common periods."""
    values: dict[tuple[str, str, int | None], dict[int, dict[str, list[float]]]] = {}
    for one in summary.results:
        if one.value is not None:
            periods = values.setdefault((one.model, one.metric, one.k), {})
            periods.setdefault(one.eval_period, {}).setdefault(one.strategy, []).append(one.value)
    ranks: list[Rank] = []
    for (model, metric, k), periods in values.items():
        strategies = list(dict.fromkeys(name for figures in periods.values() for name in figures))
        whole = {
            period: figures
            for period, figures in sorted(periods.items())
            if len(figures) == len(strategies)
        }
        if not whole:
            continue
        table = np.array(
            [[np.mean(figures[name]) for name in strategies] for figures in whole.values()]
        )
        by_period = rankdata(-table, axis=1).mean(axis=0)
        by_mean = rankdata(-table.mean(axis=0))
        ranks.extend(
            Rank(name, model, metric, k, float(mean), float(place), len(whole), tuple(whole))
            for name, mean, place in zip(strategies, by_period, by_mean, strict=True)
        )
    return tuple(ranks)


def count_costs(data: RunData) -> tuple[Cost, ...]:
    """Compute the costs of each model and strategy of a run, averaged over seeds."""
    costs = []
    for model, strategy in dict.fromkeys((cell.model, cell.strategy) for cell in data.cells):
        cells = [cell for cell in data.cells if (cell.model, cell.strategy) == (model, strategy)]
        seeds = len({cell.seed for cell in cells})
        last = max(cell.fit_period for cell in cells)
        reports = [cell.fit_report for cell in cells if cell.fit_period == last]
        entries = np.mean([report.get("kept_interactions", 0) for report in reports])
        models = np.mean([report.get("kept_model_bytes", 0) for report in reports])
        costs.append(
            Cost(
                strategy,
                model,
                num_refits=len(cells) // seeds,
                fit_seconds=sum(cell.stages.get("fit", 0.0) for cell in cells) / seeds,
                memory_seconds=sum(cell.stages.get("memory", 0.0) for cell in cells) / seeds,
                kept_rows=round(float(np.mean([one.get("kept_rows", 0) for one in reports]))),
                kept_interactions=round(float(entries)),
                kept_bytes=round(float(_ENTRY_BYTES * entries + models)),
            )
        )
    return tuple(costs)
