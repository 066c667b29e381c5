"""The study of the strategies over the periods as a page, numbers and pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from perennial.replay.analysis.summary import RunSummary
from perennial.replay.analysis.transfer import Metric, TransferMatrix
from perennial.replay.report.heatmaps import inline_heatmap, save_heatmaps, value_range
from perennial.replay.report.lines import save_plots
from perennial.replay.report.page import Section, render_page
from perennial.replay.report.run import write_folder
from perennial.replay.report.tables import (
    Table,
    TableCell,
    chain_order,
    format_bytes,
    format_seconds,
    format_value,
    headline_metrics,
    left_out,
    means_table,
    metric_label,
    paired_table,
    tell_first,
)
from perennial.replay.study.continual_report import StudyReport

SUBJECT = "distill-cf"
"""The strategy that the findings are about, where a study has it."""

MAPPED: Metric = ("HR", 100)
"""The metric of the heat maps: at 10, so few held-out users leave little but noise."""


def findings(report: StudyReport) -> list[str]:
    """The subject against every other strategy, on the periods set apart if there are any."""
    summary = report.confirmed or report.summary
    subject = subject_of(summary)
    found = tell_first(summary, (one for one in summary.differences if one.strategy == subject))
    if report.confirmed is not None and found:
        found.insert(0, f"On the periods from {report.confirm_from} on:")
    return [*left_out(report.summary), *found]


def subject_of(summary: RunSummary) -> str:
    """The strategy that is held against each other one."""
    strategies = list(dict.fromkeys(one.strategy for one in summary.results))
    return SUBJECT if SUBJECT in strategies else strategies[-1]


def lead_table(summary: RunSummary) -> Table:
    """The subject against every other strategy with the same model."""
    subject = subject_of(summary)
    table = paired_table(
        f"{subject} less each other strategy",
        [(one.baseline, one) for one in summary.differences if one.strategy == subject],
        headline_metrics(summary),
        heading="less",
    )
    note = (
        "With the 95% interval of the paired difference: the same users and periods on both"
        " sides, seeds averaged, users drawn anew with all their periods."
    )
    return replace(table, note=note)


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
                entries.append(TableCell("–"))
                continue
            place = f"by mean {one.of_mean:g}"
            entries.append(
                TableCell(f"{one.rank:.1f}", place, best=one.rank == best[model, metric])
            )
        rows.append((TableCell(model), TableCell(strategy), *entries))
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
        rows.append((TableCell(model), TableCell(strategy), *map(TableCell, texts)))
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
                entries.append(TableCell(shown))
        rows.append((TableCell(model), TableCell(strategy), *entries))
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
    since = f"from period {report.confirm_from} on"
    tables = {
        f"Mean {since}": means_table(report.confirmed),
        f"{subject_of(report.confirmed)} less each other strategy, {since}": lead_table(
            report.confirmed
        ),
    }
    return tuple(replace(table, title=title) for title, table in tables.items() if table.rows)


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
    return write_folder(
        folder, render_study(report), report.to_json(), lambda plots: _save_pictures(report, plots)
    )


def _save_pictures(report: StudyReport, plots: Path) -> tuple[Path, ...]:
    mapped = _mapped(report)
    return (*save_plots(report.summary, plots), *(save_heatmaps(mapped, plots) if mapped else ()))


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
    pictures: dict[str, list[tuple[str, str]]] = {}
    mapped = _mapped(report)
    for number, one in enumerate(mapped):
        limits = value_range([other for other in mapped if other.model == one.model])
        svg = inline_heatmap(one, f"transfer-{number}", limits)
        pictures.setdefault(one.model, []).append((one.strategy, svg))
    return Section(
        "What is forgotten, and what carries over",
        f"{metric_label(*MAPPED)} of users whom no fit ever saw: each row is a fit, each column a"
        " period it was asked about. Left of the white stairs the period was part of the past;"
        " right of them it was still to come, and its new items are misses.",
        (transfer_table(report),),
        pictures,
    )


def _mapped(report: StudyReport) -> list[TransferMatrix]:
    return [one for one in report.transfer if (one.metric, one.k) == MAPPED]
