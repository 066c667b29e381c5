"""The study of the strategies over the periods as a report: tables, pictures and a page."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from replay.config import ReplayConfig
from replay.report.content import (
    Entry,
    Table,
    chain_order,
    difference_entry,
    format_bytes,
    format_seconds,
    format_value,
    headline_metrics,
    means_table,
    metric_label,
    tell,
)
from replay.report.files import NUMBERS, PAGE, PLOTS
from replay.report.heatmap import inline_heatmap, save_heatmaps, value_range
from replay.report.page import Section, render_page
from replay.report.plots import save_plots
from replay.study.comparison import Cost, Rank, count_costs, rank_strategies
from replay.study.continual import StudyRuns
from replay.study.transfer import Metric, TransferMatrix, chance_figures, transfer_matrices
from replay.summary import RunData, Summary, from_period, load_run, summarise
from storage.errors import UserError
from storage.periods import list_periods
from storage.runs import read_cells
from storage.store import Store

SUBJECT = "distill-cf"
"""The strategy that the findings are about, where a study has it."""

TRANSFER: tuple[Metric, ...] = (("HR", 10), ("nDCG", 10), ("HR", 100), ("PSP", 10))
MAPPED: Metric = ("HR", 100)
"""The metric of the heat maps: at 10, so few held-out users leave little but noise."""


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
    summary: Summary
    confirm_from: int | None
    confirmed: Summary | None
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
    path: Path, runs: StudyRuns, config: ReplayConfig | None, confirm_from: int | None
) -> StudyReport:
    """Read a study from its store and sum it up.

    Args:
        path: of the store.
        runs: of the study.
        config: of the transfer run, if there is one.
        confirm_from: the first evaluated period that is reported apart.

    Raises:
        UserError: no evaluated period is left to report apart.
    """
    with Store.open(path) as store:
        data = load_run(store, runs.main)
        transfer: tuple[TransferMatrix, ...] = ()
        if runs.transfer is not None and config is not None:
            cells = read_cells(store, runs.transfer)
            transfer = transfer_matrices(cells, TRANSFER, chance_figures(store, config))
    strategies = tuple(dict.fromkeys(cell.strategy for cell in data.cells))
    confirmed = None
    if confirm_from is not None:
        later = from_period(data, confirm_from)
        if not later.cells:
            raise _no_period_from(confirm_from)
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


def check_confirm_from(store: Store, confirm_from: int | None) -> None:
    """Refuse before any work what `load_study` would refuse after it.

    Raises:
        UserError: as `load_study`.
    """
    if confirm_from is not None and confirm_from > len(list_periods(store)):
        raise _no_period_from(confirm_from)


def _no_period_from(first: int) -> UserError:
    return UserError(f"no period from {first} on was evaluated; give a smaller --confirm-from")


def write_study(report: StudyReport, folder: Path) -> tuple[Path, ...]:
    """Write the page, the numbers as JSON, and every picture as PNG and SVG.

    Args:
        report: the study.
        folder: made where absent; earlier reports in it are replaced.

    Returns:
        The files written, the page first.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        plots = folder / PLOTS
        plots.mkdir(parents=True, exist_ok=True)
        page, numbers = folder / PAGE, folder / NUMBERS
        page.write_text(render_study(report), encoding="utf-8")
        text = json.dumps(report.to_json(), indent=1, allow_nan=False)
        numbers.write_text(text + "\n", encoding="utf-8")
        written = [page, numbers, *save_plots(report.summary, plots)]
        mapped = _mapped(report)
        if mapped:
            written.extend(save_heatmaps(mapped, plots))
        return tuple(written)
    except OSError as error:
        raise UserError(
            f"{folder}: the report cannot be written ({error.strerror}); name another folder"
        ) from error


def render_study(report: StudyReport) -> str:
    """The study as one self-contained HTML page."""
    source = report.data.run.config.get("source")
    lead, ranks, costs = lead_table(report.summary), ranks_table(report), costs_table(report)
    sections = [Section(lead.title, tables=(lead,))] if lead.rows else []
    sections += _confirmation(report)
    sections.append(Section(ranks.title, tables=(ranks,)))
    if report.transfer:
        sections.append(_transfer_section(report))
    sections.append(Section(costs.title, tables=(costs,)))
    return render_page(
        report.data,
        report.summary,
        title=f"Strategies over the periods of {source}" if source else "Strategies over periods",
        findings=findings(report),
        sections=sections,
    )


def findings(report: StudyReport) -> list[str]:
    """The subject against every other strategy, on the periods set apart if there are any."""
    summary = report.confirmed or report.summary
    subject, first = subject_of(summary), headline_metrics(summary)[:1]
    found = [
        tell(one)
        for one in summary.differences
        if one.strategy == subject and first == ((one.metric, one.k),)
    ]
    where = "" if report.confirmed is None else f"Periods from {report.confirm_from} on: "
    return [where + sentence[0].lower() + sentence[1:] if where else sentence for sentence in found]


def subject_of(summary: Summary) -> str:
    """The strategy that is held against each other one."""
    strategies = list(dict.fromkeys(one.strategy for one in summary.results))
    return SUBJECT if SUBJECT in strategies else strategies[-1]


def lead_table(summary: Summary) -> Table:
    """The subject against every other strategy with the same model."""
    metrics, subject = headline_metrics(summary), subject_of(summary)
    found = {
        (one.model, one.baseline, one.metric, one.k): one
        for one in summary.differences
        if one.strategy == subject
    }
    rows = tuple(
        (
            Entry(model),
            Entry(baseline),
            *(difference_entry(found.get((model, baseline, *metric))) for metric in metrics),
        )
        for model, baseline in dict.fromkeys((one[0], one[1]) for one in found)
    )
    return Table(
        title=f"{subject} less each other strategy",
        columns=("model", "less", *(metric_label(*one) for one in metrics)),
        rows=rows,
        num_labels=2,
        note="With the 95% interval of the paired difference: the same users and periods on both"
        " sides, seeds averaged, users drawn anew with all their periods.",
    )


def ranks_table(report: StudyReport) -> Table:
    """Mean rank over the periods, and the place of the mean."""
    metrics = headline_metrics(report.summary)
    found = {(one.model, one.strategy, one.metric, one.k): one for one in report.ranks}
    best = {
        (model, metric): min(
            (
                one.rank
                for one in report.ranks
                if (one.model, (one.metric, one.k)) == (model, metric)
            ),
            default=None,
        )
        for model in dict.fromkeys(one.model for one in report.ranks)
        for metric in metrics
    }
    rows = []
    for model, strategy in chain_order(report.summary):
        entries = []
        for metric in metrics:
            one = found.get((model, strategy, *metric))
            if one is None:
                entries.append(Entry("–"))
                continue
            place = f"by mean {one.of_mean:g}"
            entries.append(Entry(f"{one.rank:.1f}", place, best=one.rank == best[model, metric]))
        rows.append((Entry(model), Entry(strategy), *entries))
    return Table(
        title="Rank",
        columns=("model", "strategy", *(metric_label(*one) for one in metrics)),
        rows=tuple(rows),
        num_labels=2,
        note="Place among the strategies with the same model, 1 the best: the mean over the"
        " evaluated periods, and beside it the place of the mean over the periods.",
    )


def costs_table(report: StudyReport) -> Table:
    """What each strategy needs."""
    costs = {(one.model, one.strategy): one for one in report.costs}
    rows = []
    for model, strategy in chain_order(report.summary):
        one = costs[model, strategy]
        texts = (
            format_seconds(one.fit_seconds / max(1, one.num_refits)),
            format_seconds(one.fit_seconds),
            format_seconds(one.memory_seconds),
            f"{one.kept_rows:,}",
            f"{one.kept_interactions:,}",
            format_bytes(one.kept_bytes),
        )
        rows.append((Entry(model), Entry(strategy), *map(Entry, texts)))
    return Table(
        title="Cost",
        columns=(
            "model",
            "strategy",
            "a fit",
            "fits",
            "memory",
            "kept rows",
            "interactions",
            "bytes",
        ),
        rows=tuple(rows),
        num_labels=2,
        note="Seconds of one seed over all periods. Models share what a memory makes; its time"
        " stands with the first. Kept: what the last refit needed of the past, eight bytes an"
        " interaction, and the model of the period before where it was asked. A memory that is"
        " made of the whole log anew (policy whole) needs the log besides.",
    )


def transfer_table(report: StudyReport) -> Table:
    """Backward transfer, forgetting and forward transfer."""
    found = {(one.model, one.strategy, one.metric, one.k): one for one in report.transfer}
    rows = []
    for model, strategy in dict.fromkeys((one.model, one.strategy) for one in report.transfer):
        entries = []
        for name in ("final", "backward", "forgetting", "forward"):
            for metric, k in (("nDCG", 10), MAPPED):
                value = getattr(found[model, strategy, metric, k], name)
                signed = name == "backward"
                shown = "–" if np.isnan(value) else format_value(metric, value, signed=signed)
                entries.append(Entry(shown))
        rows.append((Entry(model), Entry(strategy), *entries))
    labels = [
        f"{what} {metric_label(*metric)}"
        for what in ("last fit", "backward", "forgetting", "forward")
        for metric in (("nDCG", 10), MAPPED)
    ]
    return Table(
        title="What is forgotten, and what carries over",
        columns=("model", "strategy", *labels),
        rows=tuple(rows),
        num_labels=2,
        note="R[i, j]: the fit at period i on period j. Last fit: mean of R[T, j] over the periods"
        " it has lived. Backward transfer: mean of R[T, j] − R[j, j], below 0 where it has"
        " forgotten. Forgetting: mean of the best R[i, j] of any fit since j, less R[T, j]."
        " Forward transfer: mean of R[j − 1, j] less what a random order gets.",
    )


def confirmed_tables(report: StudyReport) -> tuple[Table, ...]:
    """Means and differences of the periods set apart."""
    if report.confirmed is None:
        return ()
    where = f", periods from {report.confirm_from} on"
    tables = means_table(report.confirmed), lead_table(report.confirmed)
    return tuple(replace(table, title=table.title + where) for table in tables if table.rows)


def _confirmation(report: StudyReport) -> list[Section]:
    if report.confirmed is None:
        return []
    return [
        Section(
            f"Periods from {report.confirm_from} on",
            "Nothing was chosen on these periods, so they can confirm what the others suggest.",
            confirmed_tables(report),
        )
    ]


def _transfer_section(report: StudyReport) -> Section:
    mapped = _mapped(report)
    pictures = []
    for number, one in enumerate(mapped):
        limits = value_range([other for other in mapped if other.model == one.model])
        svg = inline_heatmap(one, f"transfer-{number}", limits)
        pictures.append((f"{one.model}, {one.strategy}", svg))
    return Section(
        "What is forgotten, and what carries over",
        f"{metric_label(*MAPPED)} of users whom no fit ever saw, a tenth of all: each row is a fit,"
        " each column a period it was asked about. Left of the white stairs the period was part of"
        " the past; right of them it was still to come, and its new items are misses.",
        (transfer_table(report),),
        tuple(pictures),
    )


def _mapped(report: StudyReport) -> list[TransferMatrix]:
    return [one for one in report.transfer if (one.metric, one.k) == MAPPED]
