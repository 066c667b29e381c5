"""Results of a study of the strategies over the periods."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from perennial.replay.analysis.advice import Advice, advise
from perennial.replay.analysis.run import RunData, from_period, is_within, load_run
from perennial.replay.analysis.summary import RunSummary, summarise
from perennial.replay.analysis.transfer import (
    Metric,
    TransferMatrix,
    chance_figures,
    transfer_matrices,
)
from perennial.replay.config import ReplayConfig
from perennial.replay.strategies.registry import make_strategy
from perennial.replay.study.continual import StudyRuns
from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.cells import read_cells
from perennial.storage.store import Store


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


def rank_strategies(summary: RunSummary) -> tuple[Rank, ...]:
    """Rank the strategies of each model in each metric, over the periods of all their seeds."""
    values: dict[tuple[str, str, int | None], dict[int, dict[tuple[str, int], float]]] = {}
    for one in summary.results:
        if one.value is not None:
            periods = values.setdefault((one.model, one.metric, one.k), {})
            periods.setdefault(one.eval_period, {})[one.strategy, one.seed] = one.value
    ranks: list[Rank] = []
    for (model, metric, k), periods in values.items():
        chains = {chain for figures in periods.values() for chain in figures}
        strategies = list(dict.fromkeys(name for one in periods.values() for name, _ in one))
        whole = {
            period: [
                np.mean([value for (of, _), value in figures.items() if of == name])
                for name in strategies
            ]
            for period, figures in sorted(periods.items())
            if figures.keys() == chains
        }
        if not whole:
            continue
        table = np.array(list(whole.values()))
        by_period = rankdata(-table, axis=1).mean(axis=0)
        by_mean = rankdata(-table.mean(axis=0))
        ranks.extend(
            Rank(name, model, metric, k, float(mean), float(place), len(whole), tuple(whole))
            for name, mean, place in zip(strategies, by_period, by_mean, strict=True)
        )
    return tuple(ranks)


TRANSFER: tuple[Metric, ...] = (("HR", 10), ("nDCG", 10), ("HR", 100), ("PSP", 10))
"""Metrics of the transfer matrices."""


@dataclass(frozen=True)
class StudyReport:
    """Results of a study.

    Attributes:
        data: the run that is evaluated on the next period.
        summary: of this run, with differences between all strategies.
        confirm_from: first evaluated period of `confirmed`.
        confirmed: summary of the periods from there on; `None` for a study without confirmation.
        transfer: R of each strategy and model; empty for a study without transfer.
        advice: strategy to take with each model, by `confirmed` if there is one.
    """

    data: RunData
    summary: RunSummary
    confirm_from: int | None
    confirmed: RunSummary | None
    ranks: tuple[Rank, ...]
    transfer: tuple[TransferMatrix, ...]
    advice: tuple[Advice, ...] = ()

    @classmethod
    def of(
        cls,
        data: RunData,
        transfer: tuple[TransferMatrix, ...],
        confirm_from: int | None,
        num_resamples: int = 1000,
    ) -> "StudyReport":
        """Summarise a run; `num_resamples` is for `summarise`."""
        strategies = tuple(dict.fromkeys(cell.strategy for cell in data.cells))
        summary = summarise(data, num_resamples=num_resamples, baselines=strategies)
        confirmed = None
        if confirm_from is not None:
            later = from_period(data, confirm_from)
            confirmed = summarise(later, num_resamples=num_resamples, baselines=strategies)
        ranks = rank_strategies(summary)
        advice = advise(confirmed or summary, partial(_needs_log, data.run.config))
        return cls(data, summary, confirm_from, confirmed, ranks, transfer, advice)

    def to_json(self) -> dict[str, Json]:
        """Return the object that `--json` prints."""
        confirmed = None
        if self.confirmed is not None:
            confirmed = {
                "from_period": self.confirm_from,
                "means": [asdict(one) for one in self.confirmed.means],
                "differences": [asdict(one) for one in self.confirmed.differences],
            }
        return {
            **self.summary.to_json(),
            "differences": [asdict(one) for one in self.summary.differences],
            "ranks": [asdict(one) for one in self.ranks],
            "confirmation": confirmed,
            "transfer": [one.to_json() for one in self.transfer],
            "advice": [asdict(one) | {"sentence": one.describe()} for one in self.advice],
        }


def _needs_log(config: Mapping[str, Json], strategy: str) -> bool:
    """Return whether a strategy of a run needs the log of all periods; true if not known."""
    try:
        settings = config.get("strategy_settings", {}).get(strategy)
        return make_strategy(strategy, settings).needs_log
    except UserError:  # A strategy by target is recorded by its name alone.
        return True


def load_study(
    path: Path,
    runs: StudyRuns,
    config: ReplayConfig | None,
    confirm_from: int | None,
    until: int | None = None,
) -> StudyReport:
    """Read a study from its store and summarise it.

    `config` is that of the transfer run, if there is one; evaluated periods from `confirm_from` on
    have a second, separate summary, and those after `until` are left out.

    Raises:
        UserError: no evaluated period is left for a summary.
    """
    with Store.open(path) as store:
        data = load_run(store, runs.main, until=until)
        transfer: tuple[TransferMatrix, ...] = ()
        if runs.transfer is not None and config is not None:
            cells = [
                cell
                for cell in read_cells(store, runs.transfer)
                if until is None or is_within(cell, until)
            ]
            transfer = transfer_matrices(cells, TRANSFER, chance_figures(store, config))
    if confirm_from is not None and not from_period(data, confirm_from).cells:
        raise _no_period_from(confirm_from, until)
    return StudyReport.of(data, transfer, confirm_from)


def check_periods(store: Store, confirm_from: int | None, until: int | None) -> None:
    """Check before a study that `load_study` will have periods to report, else `UserError`."""
    last = len(list_periods(store))
    if until is not None:
        last = min(last, until)
    if confirm_from is not None and confirm_from > last:
        raise _no_period_from(confirm_from, until)


def _no_period_from(first: int, until: int | None) -> UserError:
    evaluated = "was evaluated" if until is None else f"is left by --until-period {until}"
    return UserError(f"no period from {first} on {evaluated}; give a smaller --confirm-from")
