"""Summary of a run: figures, means with standard errors, and paired differences."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from perennial.replay.analysis.bootstrap import PeriodSeries, Series, interval, resample_means
from perennial.replay.analysis.run import RunData
from perennial.storage.base import Json
from perennial.storage.results.cells import Cell


@dataclass(frozen=True)
class Result:
    """One metric of one cell.

    Attributes:
        k: cut-off; `None` for a metric of the whole ranking.
        value: `None` if no user has any weight.
    """

    strategy: str
    model: str
    seed: int
    fit_period: int
    eval_period: int
    metric: str
    k: int | None
    value: float | None
    num_users: int


@dataclass(frozen=True)
class MeanFigure:
    """One metric of a strategy and model: unweighted mean over periods of seed-averaged figures.

    Attributes:
        stderr: standard deviation of the mean when the users are resampled, each with all their
            periods; `None` if it cannot be computed.
    """

    strategy: str
    model: str
    metric: str
    k: int | None
    mean: float
    stderr: float | None


@dataclass(frozen=True)
class Difference:
    """Mean difference of two strategies with the same model, over common periods.

    Attributes:
        low: lower end of the 95% interval of the paired difference.
    """

    strategy: str
    baseline: str
    model: str
    metric: str
    k: int | None
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class RunSummary:
    """A run as it is reported.

    Attributes:
        config: settings of the run, its number, status and versions.
    """

    config: Mapping[str, Json]
    cells: tuple[Cell, ...]
    results: tuple[Result, ...]
    means: tuple[MeanFigure, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the object that `--json` prints."""
        return {
            "config": dict(self.config),
            "results": [asdict(result) for result in self.results],
            "means": [asdict(mean) for mean in self.means],
            "timings": [
                _name(cell) | {"seconds": dict(cell.stages), "peak_rss_bytes": cell.peak_rss_bytes}
                for cell in self.cells
            ],
        }


def summarise(
    data: RunData, *, num_resamples: int = 1000, seed: int = 0, baselines: Sequence[str] = ()
) -> RunSummary:
    """Summarise a run.

    Args:
        data: the run; the means of an unfinished one are over the periods that it has.
        num_resamples: bootstrap draws; fewer than two give no standard errors and no differences.
        seed: of the bootstrap.
        baselines: strategies that the others are compared with; `baseline_of` all by default.
    """
    results = tuple(
        Result(**_name(cell), **asdict(figure)) for cell in data.cells for figure in cell.figures
    )
    figures = _PeriodFigures.of(results)

    @cache
    def resample(periods: tuple[int, ...]) -> NDArray[np.float64]:
        series = _user_series(data, figures.groups, periods)
        return resample_means(series, len(figures.groups), num_resamples=num_resamples, seed=seed)

    return RunSummary(
        config=_reported_config(data),
        cells=data.cells,
        results=results,
        means=tuple(_means(figures, resample(figures.periods))),
        differences=tuple(_differences(figures, resample, baselines)) if num_resamples > 1 else (),
    )


def baseline_of(strategies: Sequence[str]) -> str:
    """Return the strategy that the others are compared with: `individual`, or else the first."""
    return "individual" if "individual" in strategies else strategies[0]


def average_table(
    shape: tuple[int, int], entries: Iterable[tuple[int, int, float]]
) -> NDArray[np.float64]:
    """Average entries (row, column, value) place by place, NaN without any; float64 of `shape`."""
    sums, counts = np.zeros((2, *shape))
    for row, column, value in entries:
        sums[row, column] += value
        counts[row, column] += 1
    means: NDArray[np.float64] = np.divide(
        sums, counts, out=np.full(shape, np.nan), where=counts > 0
    )
    return means


Group = tuple[str, str, str, int | None]
"""Figures with a common mean: strategy, model, metric, k."""


@dataclass(frozen=True)
class _PeriodFigures:
    """Figures of each period, averaged over seeds.

    Attributes:
        groups: in order of first appearance.
        periods: the evaluated periods, ascending.
        values: `(num_periods, num_groups)` float64, NaN for a missing figure.
    """

    groups: tuple[Group, ...]
    periods: tuple[int, ...]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, results: Sequence[Result]) -> "_PeriodFigures":
        """Average the seeds of each period and group."""
        known = [result for result in results if result.value is not None]
        groups = tuple(dict.fromkeys(_group(result) for result in known))
        periods = tuple(sorted({result.eval_period for result in known}))
        values = average_table(
            (len(periods), len(groups)),
            (
                (periods.index(one.eval_period), groups.index(_group(one)), one.value or 0.0)
                for one in known
            ),
        )
        return cls(groups, periods, values)

    def common_periods(self, columns: Sequence[int]) -> tuple[int, ...]:
        """Return the periods in which all these groups have a figure."""
        whole = ~np.isnan(self.values[:, columns]).any(axis=1)
        return tuple(self.periods[place] for place in np.flatnonzero(whole))


def _group(result: Result) -> Group:
    return result.strategy, result.model, result.metric, result.k


def _means(figures: _PeriodFigures, samples: NDArray[np.float64]) -> list[MeanFigure]:
    """Compute the mean of each group."""
    means = []
    for column, group in enumerate(figures.groups):
        spread = samples[:, column][~np.isnan(samples[:, column])]
        stderr = float(np.std(spread, ddof=1)) if len(spread) > 1 else None
        means.append(
            MeanFigure(*group, mean=float(np.nanmean(figures.values[:, column])), stderr=stderr)
        )
    return means


def _differences(
    figures: _PeriodFigures,
    resample: Callable[[tuple[int, ...]], NDArray[np.float64]],
    baselines: Sequence[str],
) -> list[Difference]:
    """Compare strategies with the baselines, model by model and metric by metric."""
    strategies = tuple(dict.fromkeys(group[0] for group in figures.groups))
    if len(strategies) < 2:
        return []
    differences: list[Difference] = []
    for baseline in baselines or (baseline_of(strategies),):
        for column, (strategy, *rest) in enumerate(figures.groups):
            against = (baseline, *rest)
            if strategy != baseline and against in figures.groups:
                pair = column, figures.groups.index(against)
                differences.extend(_difference(figures, resample, pair))
    return differences


def _difference(
    figures: _PeriodFigures,
    resample: Callable[[tuple[int, ...]], NDArray[np.float64]],
    pair: tuple[int, int],
) -> Iterator[Difference]:
    """Compare the first group with the second, if they have a period in common."""
    columns = list(pair)
    periods = figures.common_periods(columns)
    if not periods:
        return
    samples = resample(periods)[:, columns]
    if np.isnan(samples).any(axis=1).all():
        return
    low, high = interval(samples[:, 0] - samples[:, 1])
    values = figures.values[np.isin(figures.periods, periods)][:, columns]
    mean = float(np.mean(values[:, 0] - values[:, 1]))
    strategy, model, metric, k = figures.groups[pair[0]]
    yield Difference(strategy, figures.groups[pair[1]][0], model, metric, k, mean, low, high)


def _user_series(
    data: RunData, groups: Sequence[Group], periods: Sequence[int]
) -> list[PeriodSeries]:
    """Return the users' values of some groups and periods, for the bootstrap."""
    series: dict[str, list[Series]] = {}
    places = {group: place for place, group in enumerate(groups)}
    for cell in data.cells:
        if cell.eval_period not in periods:
            continue
        for one in data.user_figures.get(cell.key, ()):
            place = places.get((cell.strategy, cell.model, one.metric, one.k))
            if place is not None:
                series.setdefault(cell.evaluation_key, []).append(
                    Series(place, one.values, one.weights)
                )
    return [PeriodSeries(data.evaluated_users[key].users, values) for key, values in series.items()]


def _name(cell: Cell) -> dict[str, Json]:
    """Return the fields that name a cell in a report."""
    fields = ("strategy", "model", "seed", "fit_period", "eval_period")
    return {field: getattr(cell, field) for field in fields}


def _reported_config(data: RunData) -> dict[str, Json]:
    """Return the settings, and everything else that is needed to repeat the run."""
    run = data.run
    shortened = {} if data.until is None else {"until_period": data.until}
    reported = {"run": run.run_id, "status": run.status, "versions": dict(run.versions)}
    return {**run.config, **reported, **shortened}
