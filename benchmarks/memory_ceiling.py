"""What a memory without any budget would give: `python -m benchmarks.memory_ceiling LOG --store S`.

A memory of few rows can hardly beat one that keeps every row of the past. So each fit is also made
on the rows of its own period and *all* rows of the periods before it, at several weights, and on
`joint`'s rows with the newest users counting more. What these gain over `joint` bounds what a
summary can gain over it; differences are paired, with 95% intervals over users.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from perennial.memory.distill_memory import join_rows
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.registry import DEFAULT_MODELS, MODELS, make_recipe
from perennial.replay.analysis.bootstrap import PeriodSeries, Series, interval, resample_means
from perennial.replay.evaluate import evaluate
from perennial.replay.logs import LogRequest, open_log
from perennial.storage.log.periods import list_periods
from perennial.storage.store import Store
from perennial.stream.history import History
from perennial.stream.next_period import ProtocolSettings, build_evaluation
from perennial.stream.seeds import derive_seed

METRICS = (("HR", 10), ("nDCG", 10), ("HR", 100))

Rows = Callable[[History], TrainingRows]


def of_period(history: History) -> TrainingRows:
    """`individual`."""
    return TrainingRows.of_users(history.rows(first=history.period))


def of_all(history: History) -> TrainingRows:
    """`joint`."""
    return TrainingRows.of_users(history.rows(first=1))


def past_beside(weight: float) -> Rows:
    """The period's rows, and all of the past's, a row a user, as a memory would replay them."""

    def rows(history: History) -> TrainingRows:
        own = of_period(history)
        if history.period == 1:
            return own
        past = TrainingRows.of_users(history.rows(first=1, last=history.period - 1))
        weighted = dataclasses.replace(
            past,
            weights=np.full(past.num_rows, weight),
            replayed=np.ones(past.num_rows, dtype=np.bool_),
        )
        return join_rows(own, weighted)

    return rows


def recent_heavier(weight: float) -> Rows:
    """`joint`, with the users of the newest period counting more."""

    def rows(history: History) -> TrainingRows:
        joint = of_all(history)
        newest = joint.last_period == history.period
        return dataclasses.replace(joint, weights=np.where(newest, weight, 1.0))

    return rows


VARIANTS: dict[str, Rows] = {
    "individual": of_period,
    "joint": of_all,
    "joint, newest users × 2": recent_heavier(2.0),
    "period and whole past, weight 1": past_beside(1.0),
    "period and whole past, weight 0.3": past_beside(0.3),
    "period and whole past, weight 0.1": past_beside(0.1),
}


def judge(
    store: Store, model: str, seeds: Sequence[int], periods: Sequence[int], console: Console
) -> list[PeriodSeries]:
    """Every variant on the period after each of `periods`; group = variant × metric."""
    found = []
    for period in periods:
        evaluation = build_evaluation(store, period, ProtocolSettings(), seed=0)
        series = []
        for place, (name, rows) in enumerate(VARIANTS.items()):
            for seed in seeds:
                options = FitOptions(seed=derive_seed(seed, period, name, model))
                fitted = make_recipe(model).fit(rows(History(store, period)), options)
                values = {(r.metric, r.k): r.values.values for r in evaluate(fitted, evaluation)}
                series += [
                    Series(place * len(METRICS) + number, values[metric])
                    for number, metric in enumerate(METRICS)
                ]
        found.append(PeriodSeries(evaluation.users, series))
        console.print(f"{model}: period {period} of {periods[-1]}", highlight=False)
    return found


def show(title: str, judged: Sequence[PeriodSeries], console: Console) -> None:
    """Means and differences from `joint`."""
    groups = len(VARIANTS) * len(METRICS)
    samples = resample_means(judged, groups)
    means = [
        np.mean(
            [
                np.mean([s.values.mean() for s in period.series if s.group == group])
                for period in judged
            ]
        )
        for group in range(groups)
    ]
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("fitted on")
    for metric, k in METRICS:
        table.add_column(f"{metric}@{k}", justify="right")
        table.add_column("− joint", justify="right")
    joint = list(VARIANTS).index("joint") * len(METRICS)
    for place, name in enumerate(VARIANTS):
        cells = []
        for number in range(len(METRICS)):
            mine, other = place * len(METRICS) + number, joint + number
            low, high = interval(samples[:, mine] - samples[:, other])
            cells += [
                f"{means[mine]:.2f}",
                f"{means[mine] - means[other]:+.2f} ({low:+.2f} to {high:+.2f})",
            ]
        table.add_row(name, *cells)
    console.print(table)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", help="as for `perennial replay`")
    parser.add_argument("--store", type=Path, required=True, help="takes the log")
    parser.add_argument("--model", nargs="+", default=DEFAULT_MODELS, choices=list(MODELS))
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--periods", type=int, default=17)
    parser.add_argument("--confirm-from", type=int, default=8, help="evaluated period")
    arguments = parser.parse_args()
    console = Console(width=150)
    request = LogRequest(arguments.log, arguments.store, None, arguments.periods, {})
    with open_log(request, cache=Path()) as log:
        last = list_periods(log.store)[-1].period
        for model in arguments.model:
            judged = judge(log.store, model, arguments.seed, range(2, last), console)
            split = arguments.confirm_from - 3
            show(f"{model}, evaluated periods 3 to {split + 2}", judged[:split], console)
            show(f"{model}, evaluated periods {split + 3} to {last}", judged[split:], console)


if __name__ == "__main__":
    main()
