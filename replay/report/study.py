"""The study of the strategies over the periods as a page, numbers and pictures."""

from pathlib import Path

from replay.report.content import metric_label
from replay.report.files import write_folder
from replay.report.heatmap import inline_heatmap, save_heatmaps, value_range
from replay.report.page import Section, render_page
from replay.report.plots import save_plots
from replay.report.study_tables import (
    MAPPED,
    confirmed_tables,
    costs_table,
    findings,
    lead_table,
    ranks_table,
    transfer_table,
)
from replay.study.results import StudyReport
from replay.study.transfer import TransferMatrix


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
