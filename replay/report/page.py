"""Reports as one self-contained HTML file: pictures inside, readable on a phone."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from perennial.replay.analysis.run import RunData
from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.drawing import Table
from perennial.replay.report.lines import (
    COLOURS,
    MARKER_SIGNS,
    inline_svg,
    make_panels,
    style_order,
    value_range,
)
from perennial.replay.report.run_tables import (
    evaluation_table,
    fits_table,
    period_tables,
    periods_table,
    settings_rows,
    timings_table,
)
from perennial.replay.report.tables import (
    differences_table,
    format_seconds,
    headline,
    headline_metrics,
    means_table,
    metric_label,
)
from perennial.storage.base import escape_controls

MEANINGS: tuple[tuple[str, str], ...] = (
    (
        "HR@k",
        "Share of a user's next items among the first k recommendations; for a user with more than"
        " k next items, the share of the k places. Per cent, mean over users.",
    ),
    (
        "nDCG@k",
        "Like HR, but a hit counts more the higher its rank, relative to a perfect order. Per cent,"
        " mean over users.",
    ),
    (
        "PSP@k",
        "Like HR, but a hit on a rare item counts more (inverse propensity, from how often items"
        " occur up to the period of the fit), relative to the best possible value. The scale"
        " is that of the paper's authors, who divide by the number of places twice; PSPn divides"
        " once.",
    ),
    (
        "AUC",
        "Probability that a user's next item has a higher score than a random item, with the scores"
        " of all users pooled; 0.5 is chance. AUCu ranks within each user, against all items, and"
        " averages over users.",
    ),
    (
        "±",
        "Standard error: how much the mean would vary with other users of the same kind and with"
        " other seeds. One seed of fits that draw at random gives none. It does not cover variation"
        " between periods.",
    ),
)


@dataclass(frozen=True)
class Section:
    """One section of the page that only some reports have.

    Attributes:
        pictures: subheading -> its pictures, each a caption and an SVG element made by us.
        legend: names and signs of the pictures; the colours follow from the order.
    """

    title: str
    note: str = ""
    tables: tuple[Table, ...] = ()
    pictures: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    legend: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()


_NO_PARTS: Mapping[str, Any] = {
    **dict.fromkeys(("unfinished", "empty", "started", "ended"), ""),
    "period_tables": (),
    "means": None,
}
"""Parts of the template that only pages of runs have."""


def render_page(
    data: RunData,
    summary: RunSummary,
    *,
    title: str | None = None,
    findings: Sequence[str] | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """Render a run as a self-contained HTML page.

    Names and settings are escaped, as they come from files and command lines; our own pictures are
    not. Without `title` it is that of a replay, and without `findings` they are sentences on the
    differences. `sections` come between the pictures and the detailed tables.
    """
    source = data.run.config.get("source")
    extra = (
        differences_table(summary),
        fits_table(data),
        evaluation_table(data),
        periods_table(data.periods),
        timings_table(data),
    )
    return render_sections(
        title or (f"Replay of {source}" if source else "Replay"),
        _subtitle(data),
        findings=headline(summary) if findings is None else findings,
        sections=(
            *_period_sections(summary),
            *sections,
            *(table_section(table) for table in extra if table is not None and table.rows),
        ),
        meanings=MEANINGS,
        settings=settings_rows(summary.config),
        version=data.run.versions.get("perennial", ""),
        parts={
            "unfinished": _unfinished(data),
            "means": means_table(summary) if summary.means else None,
            "empty": "Nothing could be evaluated: no user of a later period had enough"
            " interactions.",
            "period_tables": period_tables(summary),
            "started": _format_minute(data.run.started),
            "ended": _format_minute(data.run.ended) if data.run.ended else "",
        },
    )


def render_sections(
    title: str,
    subtitle: str,
    *,
    sections: Sequence[Section],
    version: str,
    findings: Sequence[str] = (),
    meanings: Sequence[tuple[str, str]] = (),
    settings: Sequence[tuple[str, str]] = (),
    parts: Mapping[str, Any] = _NO_PARTS,
) -> str:
    """Render a page that consists of sections; `parts` are those of runs alone."""
    environment = Environment(
        loader=PackageLoader("perennial.replay.report", "."),
        autoescape=True,
        finalize=_make_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        sections=[_with_markup(section) for section in sections],
        version=version,
        findings=findings,
        meanings=meanings,
        settings=settings,
        colours=COLOURS,
        **parts,
    )


def _make_visible(value: object) -> object:
    """Escape control characters in text from logs and command lines; markup is our own."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_controls(value, keep="\n")
    return value


def table_section(table: Table) -> Section:
    """Return a section with one table and its title."""
    return Section(table.title, tables=(table,))


def _period_sections(summary: RunSummary) -> list[Section]:
    """Draw the headline metrics period by period; no section without any."""
    pictures, bands = dict[str, list[tuple[str, str]]](), ""
    for row, metric in enumerate(headline_metrics(summary)):
        panels = make_panels(summary, *metric)
        limits = value_range(panels)
        pictures[metric_label(*metric)] = [
            (panel.model, inline_svg(panel, f"plot-{row}-{place}", limits))
            for place, panel in enumerate(panels)
        ]
        if any(line.has_band for panel in panels for line in panel.lines):
            bands = (
                " Lines are means over the seeds, bands reach from the lowest seed to the highest."
            )
    note = Markup(
        "At each period the models are fitted on what their strategy may see up to it and evaluated"
        " on the next, the <em>evaluated period</em>."
    )
    legend = [
        (strategy, MARKER_SIGNS[number % len(MARKER_SIGNS)])
        for number, strategy in enumerate(style_order(summary))
    ]
    section = Section("Period by period", note + bands, pictures=pictures, legend=legend)
    return [section] if pictures else []


def _with_markup(section: Section) -> Section:
    """Mark the pictures as safe HTML."""
    pictures = {
        heading: [
            (caption, Markup(svg))  # noqa: S704 - drawn here, its label escaped
            for caption, svg in captioned
        ]
        for heading, captioned in section.pictures.items()
    }
    return dataclasses.replace(section, pictures=pictures)


def _subtitle(data: RunData) -> str:
    """Describe the log and the number of refits."""
    interactions = sum(period.interactions for period in data.periods)
    seconds = sum(sum(cell.stages.values()) for cell in data.cells)
    seeds = len({cell.seed for cell in data.cells})
    return (
        f"{interactions:,} interactions in {len(data.periods)} periods; {len(data.cells)} refits"
        f" with {seeds} seed{'' if seeds == 1 else 's'} in {format_seconds(seconds)}."
    )


def _unfinished(data: RunData) -> str:
    """Return a warning about an unfinished run; empty for a finished one."""
    if data.run.status in ("finished", "live"):
        return ""
    number = "" if data.until else f": {len(data.cells)} of {data.run.num_cells} refits are done"
    return (
        f"This run is not finished{number}."
        " Means are over the periods that each strategy has; the same command resumes the run."
    )


def _format_minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
