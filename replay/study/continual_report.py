"""All that a study of the strategies over the periods has found."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perennial.replay.analysis.ranks_and_costs import Cost, Rank, count_costs, rank_strategies
from perennial.replay.analysis.run import RunData, from_period, is_within, load_run
from perennial.replay.analysis.summary import RunSummary, summarise
from perennial.replay.analysis.transfer import (
    Metric,
    TransferMatrix,
    chance_figures,
    transfer_matrices,
)
from perennial.replay.config import ReplayConfig
from perennial.replay.study.continual import StudyRuns
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.cells import read_cells
from perennial.storage.store import Store

TRANSFER: tuple[Metric, ...] = (("HR", 10), ("nDCG", 10), ("HR", 100), ("PSP", 10))
"""The metrics of the transfer matrices."""


@dataclass(frozen=True)
class StudyReport:
    """All that a study has found.

    Attributes:
        data: the run about the next period.
        summary: of it, each strategy against each.
        confirm_from: the first evaluated period of `confirmed`.
        confirmed: the summary of the periods from there on; `None` where none are set apart.
        ranks: of the strategies.
        costs: of the strategies.
        transfer: R of each strategy and model; empty where it was not asked for.
    """

    data: RunData
    summary: RunSummary
    confirm_from: int | None
    confirmed: RunSummary | None
    ranks: tuple[Rank, ...]
    costs: tuple[Cost, ...]
    transfer: tuple[TransferMatrix, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
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
            "costs": [asdict(one) for one in self.costs],
            "confirmation": confirmed,
            "transfer": [one.to_json() for one in self.transfer],
        }


def load_study(
    path: Path,
    runs: StudyRuns,
    config: ReplayConfig | None,
    confirm_from: int | None,
    until: int | None = None,
) -> StudyReport:
    """Read a study from its store and sum it up.

    Args:
        path: of the store.
        runs: of the study.
        config: of the transfer run, if there is one.
        confirm_from: the first evaluated period that is reported apart.
        until: the last evaluated period that is reported at all.

    Raises:
        UserError: no evaluated period is left to report, or to report apart.
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
    strategies = tuple(dict.fromkeys(cell.strategy for cell in data.cells))
    confirmed = None
    if confirm_from is not None:
        later = from_period(data, confirm_from)
        if not later.cells:
            raise _no_period_from(confirm_from, until)
        confirmed = summarise(later, baselines=strategies)
    summary = summarise(data, baselines=strategies)
    return StudyReport(
        data,
        summary,
        confirm_from,
        confirmed,
        rank_strategies(summary),
        count_costs(data),
        transfer,
    )


def check_stretch(store: Store, confirm_from: int | None, until: int | None) -> None:
    """Refuse before any work what `load_study` would refuse after it.

    Raises:
        UserError: as `load_study`.
    """
    last = len(list_periods(store))
    if until is not None:
        last = min(last, until)
    if confirm_from is not None and confirm_from > last:
        raise _no_period_from(confirm_from, until)


def _no_period_from(first: int, until: int | None) -> UserError:
    evaluated = "was evaluated" if until is None else f"is left by --until-period {until}"
    return UserError(f"no period from {first} on {evaluated}; give a smaller --confirm-from")
