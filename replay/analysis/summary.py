"""Summary of a run: figures, means with standard errors, and paired differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perennial.replay.analysis.evaluated_periods import EvaluatedPeriod, evaluated_periods
from perennial.replay.analysis.run import Cost, RunData, count_costs
from perennial.replay.analysis.uncertainty import (
    Arm,
    PeriodSeries,
    Series,
    Uncertainty,
    all_users,
    mean_of_known,
    measure,
    resample_means,
)
from perennial.storage.base import Json
from perennial.storage.results.cells import Cell


@dataclass(frozen=True)
class Result:
    """One metric of one cell, at cut-off k if it has one; `None` if no user has any weight."""

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
        stderr: standard error over users and seeds; `None` if it cannot be computed, as from one
            seed of fits that draw at random.
        user_stderr: standard error over users alone; `None` if it cannot be computed.
    """

    strategy: str
    model: str
    metric: str
    k: int | None
    mean: float
    stderr: float | None
    user_stderr: float | None
    seeds: int
    periods: int


@dataclass(frozen=True)
class Difference:
    """Mean difference of two strategies with the same model, over common periods.

    `low` and `high` are the ends of the 95% interval over users and seeds; `None` if there is none,
    as from one seed of fits that draw at random.
    """

    strategy: str
    baseline: str
    model: str
    metric: str
    k: int | None
    mean: float
    low: float | None
    high: float | None
    periods: int
    eval_periods: tuple[int, ...]


@dataclass(frozen=True)
class RunSummary:
    """A run as it is reported; `config` has its settings, number, status and versions."""

    config: Mapping[str, Json]
    cells: tuple[Cell, ...]
    results: tuple[Result, ...]
    means: tuple[MeanFigure, ...]
    differences: tuple[Difference, ...]
    evaluations: tuple[EvaluatedPeriod, ...] = ()
    costs: tuple[Cost, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the object that `--json` prints."""
        return {
            "config": dict(self.config),
            "results": [asdict(result) for result in self.results],
            "means": [asdict(mean) for mean in self.means],
            "evaluations": [asdict(one) for one in self.evaluations],
            "timings": [
                _name(cell) | {"seconds": dict(cell.stages), "peak_rss_bytes": cell.peak_rss_bytes}
                for cell in self.cells
            ],
            "costs": [asdict(one) for one in self.costs],
        }


def summarise(
    data: RunData, *, num_resamples: int = 1000, seed: int = 0, baselines: Sequence[str] = ()
) -> RunSummary:
    """Summarise a run; the means of an unfinished one are over the periods that it has.

    Fewer than two bootstrap draws give no standard errors and no differences. `baselines` are the
    strategies that the others are compared with; `baseline_of` all by default.
    """
    results = tuple(
        Result(**_name(cell), **asdict(figure)) for cell in data.cells for figure in cell.figures
    )
    analysis = _Analysis(data, results, num_resamples, seed)
    return RunSummary(
        config=_reported_config(data),
        cells=data.cells,
        results=results,
        means=analysis.means(),
        differences=analysis.differences(baselines) if num_resamples > 1 else (),
        evaluations=evaluated_periods(data),
        costs=count_costs(data),
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
class _Analysis:
    """Figures of a run by column: a group and a seed."""

    data: RunData
    results: Sequence[Result]
    num_resamples: int
    seed: int

    @cached_property
    def columns(self) -> tuple[tuple[Group, int], ...]:
        """The columns in order of first appearance."""
        return tuple(dict.fromkeys((_group(one), one.seed) for one in self._known))

    @cached_property
    def groups(self) -> Mapping[Group, list[int]]:
        """Group -> its columns, one for each seed."""
        groups: dict[Group, list[int]] = {}
        for column, (group, _) in enumerate(self.columns):
            groups.setdefault(group, []).append(column)
        return groups

    @cached_property
    def periods(self) -> NDArray[np.int64]:
        """The periods with a figure, ascending."""
        return np.unique([one.eval_period for one in self._known]).astype(np.int64)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """`(num_periods, num_columns)`, NaN for a missing figure."""
        rows = {period: row for row, period in enumerate(self.periods.tolist())}
        places = {column: place for place, column in enumerate(self.columns)}
        return average_table(
            (len(rows), len(places)),
            (
                (rows[one.eval_period], places[_group(one), one.seed], one.value or 0.0)
                for one in self._known
            ),
        )

    def means(self) -> tuple[MeanFigure, ...]:
        """Compute the mean of each group over its periods."""
        means = []
        for group, columns in self.groups.items():
            by_period = mean_of_known(self.values[:, columns], axis=1)
            has_figure = ~np.isnan(by_period)
            # Seeds of an unfinished run may lack a period; they are not comparable then.
            is_whole = not np.isnan(self.values[has_figure][:, columns]).any()
            found = self._measure([group], has_figure) if is_whole else None
            means.append(
                MeanFigure(
                    *group,
                    mean=float(by_period[has_figure].mean()),
                    stderr=None if found is None else found.stderr,
                    user_stderr=None if found is None else found.user_stderr,
                    seeds=len(columns),
                    periods=int(has_figure.sum()),
                )
            )
        return tuple(means)

    def differences(self, baselines: Sequence[str]) -> tuple[Difference, ...]:
        """Compare strategies with the baselines, model by model and metric by metric."""
        strategies = tuple(dict.fromkeys(group[0] for group in self.groups))
        if len(strategies) < 2:
            return ()
        pairs = (
            (group, (baseline, *group[1:]))
            for baseline in baselines or (baseline_of(strategies),)
            for group in self.groups
            if group[0] != baseline
        )
        found = (self._difference(*pair) for pair in pairs if pair[1] in self.groups)
        return tuple(one for one in found if one is not None)

    def _difference(self, group: Group, against: Group) -> Difference | None:
        """Compare two groups over the periods in which all seeds of both have a figure."""
        sides = [self.values[:, self.groups[one]] for one in (group, against)]
        is_whole = np.all(~np.isnan(np.hstack(sides)), axis=1)
        if not is_whole.any():
            return None
        mean = float(sides[0][is_whole].mean() - sides[1][is_whole].mean())
        found = self._measure([group, against], is_whole)
        half = None if found is None else found.half_width()
        strategy, model, metric, k = group
        return Difference(
            *(strategy, against[0], model, metric, k),
            mean=mean,
            low=None if half is None else mean - half,
            high=None if half is None else mean + half,
            periods=int(is_whole.sum()),
            eval_periods=tuple(self.periods[is_whole].tolist()),
        )

    def _measure(self, groups: Sequence[Group], chosen: NDArray[np.bool_]) -> Uncertainty | None:
        """Measure the variance of a group's mean, or of a difference, over `chosen` periods."""
        samples, num_users = self._resample(tuple(self.periods[chosen].tolist()))
        return measure(
            [
                Arm(
                    self.values[chosen][:, self.groups[group]].mean(axis=0),
                    samples[:, self.groups[group]],
                    group[:2] in self._drawing,
                )
                for group in groups
            ],
            num_users,
        )

    @cached_property
    def _known(self) -> list[Result]:
        return [one for one in self.results if one.value is not None]

    @cached_property
    def _drawing(self) -> frozenset[tuple[str, str]]:
        """Strategies and models whose fits draw at random, or may do so for all that is known."""
        return frozenset(
            (cell.strategy, cell.model)
            for cell in self.data.cells
            if cell.fit_report.get("draws_at_random", True)
        )

    @cached_property
    def _resampled(self) -> dict[tuple[int, ...], tuple[NDArray[np.float64], int]]:
        return {}

    def _resample(self, periods: tuple[int, ...]) -> tuple[NDArray[np.float64], int]:
        """Return the means over periods for resampled users, and the number of users."""
        if periods not in self._resampled:
            series = self._user_series(periods)
            samples = resample_means(
                series, len(self.columns), num_resamples=self.num_resamples, seed=self.seed
            )
            self._resampled[periods] = samples, len(all_users(series))
        return self._resampled[periods]

    def _user_series(self, periods: Sequence[int]) -> list[PeriodSeries]:
        """Return the users' values in some periods, for the bootstrap."""
        series: dict[str, list[Series]] = {}
        places = {column: place for place, column in enumerate(self.columns)}
        for cell in self.data.cells:
            if cell.eval_period not in periods:
                continue
            for one in self.data.user_figures.get(cell.key, ()):
                column = (cell.strategy, cell.model, one.metric, one.k), cell.seed
                if column in places:
                    series.setdefault(cell.evaluation_key, []).append(
                        Series(places[column], one.values, one.weights)
                    )
        users = self.data.evaluated_users
        return [PeriodSeries(users[key].users, values) for key, values in series.items()]


def _group(result: Result) -> Group:
    return result.strategy, result.model, result.metric, result.k


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
