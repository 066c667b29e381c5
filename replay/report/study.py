"""Study of the strategies over the periods as a page, numbers and pictures."""

from pathlib import Path

from perennial.replay.analysis.transfer import TransferMatrix
from perennial.replay.report.heatmaps import colour_range, inline_heatmap, save_heatmaps
from perennial.replay.report.lines import save_plots
from perennial.replay.report.page import Section, render_page, table_section
from perennial.replay.report.run import write_folder
from perennial.replay.report.study_tables import (
    MAP_METRIC,
    confirmed_tables,
    costs_table,
    findings,
    lead_table,
    ranks_table,
    transfer_table,
)
from perennial.replay.report.tables import metric_label
from perennial.replay.study.continual_report import StudyReport


def write_study(report: StudyReport, folder: Path) -> tuple[Path, ...]:
    """Write the page, the numbers as JSON, and every picture; see `write_folder`."""
    return write_folder(
        folder, render_study(report), report.to_json(), lambda plots: _save_pictures(report, plots)
    )


def _save_pictures(report: StudyReport, plots: Path) -> tuple[Path, ...]:
    matrices = _mapped_matrices(report)
    maps = save_heatmaps(matrices, plots) if matrices else ()
    return (*save_plots(report.summary, plots), *maps)


def render_study(report: StudyReport) -> str:
    """Render the study as one self-contained HTML page."""
    source = report.data.run.config.get("source")
    lead, ranks, costs = lead_table(report.summary), ranks_table(report), costs_table(report)
    sections = [table_section(lead)] if lead.rows else []
    if report.confirmed is not None:
        note = "No choice was made on these periods, so they can confirm the results on the others."
        heading = f"Periods from {report.confirm_from} on"
        sections.append(Section(heading, note, confirmed_tables(report)))
    if report.ranks:
        sections.append(table_section(ranks))
    if report.transfer:
        sections.append(_transfer_section(report))
    sections.append(table_section(costs))
    return render_page(
        report.data,
        report.summary,
        title=f"Strategies over the periods of {source}" if source else "Strategies over periods",
        findings=findings(report),
        sections=sections,
    )


def _transfer_section(report: StudyReport) -> Section:
    table, pictures = transfer_table(report), dict[str, list[tuple[str, str]]]()
    matrices = _mapped_matrices(report)
    for number, one in enumerate(matrices):
        limits = colour_range([other for other in matrices if other.model == one.model])
        svg = inline_heatmap(one, f"transfer-{number}", limits)
        pictures.setdefault(one.model, []).append((one.strategy, svg))
    return Section(
        table.title,
        f"{metric_label(*MAP_METRIC)} of users in no fit's training rows: each row is a fit,"
        " each column a period on which it was evaluated. Left of the white line the period was"
        " in the past; right of it, in the future, and its new items are misses.",
        (table,),
        pictures,
    )


def _mapped_matrices(report: StudyReport) -> list[TransferMatrix]:
    return [one for one in report.transfer if (one.metric, one.k) == MAP_METRIC]
