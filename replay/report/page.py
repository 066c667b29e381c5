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
from perennial.replay.report.lines import (
    COLOURS,
    MARKER_SIGNS,
    Panel,
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
    Table,
    differences_table,
    format_seconds,
    headline,
    headline_metrics,
    means_table,
    metric_label,
)

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
        "Standard error: how much the mean would vary with other users of the same kind. Users are"
        " resampled, each with all their periods, so it does not cover variation between periods.",
    ),
)


@dataclass(frozen=True)
class Plot:
    """One picture on the page."""

    model: str
    svg: Markup


@dataclass(frozen=True)
class MetricPlots:
    """Pictures of one metric, one per model, on one scale."""

    label: str
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Section:
    """One section of the page that only some reports have.

    Attributes:
        pictures: subheading -> its pictures, each a caption and an SVG element made by us.
        legend: names and signs of the pictures; the colours follow from the order.
        links: texts and relative addresses of other pages of the report.
    """

    title: str
    note: str = ""
    tables: tuple[Table, ...] = ()
    pictures: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    legend: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()


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
    panels = [make_panels(summary, *one) for one in headline_metrics(summary)]
    extra = (
        differences_table(summary),
        fits_table(data),
        evaluation_table(data),
        periods_table(data.periods),
        timings_table(data),
    )
    return _render(
        title=title or _title(data),
        subtitle=_subtitle(data),
        unfinished=_unfinished(data),
        findings=headline(summary) if findings is None else findings,
        means=means_table(summary) if summary.means else None,
        empty="Nothing could be evaluated: no user of a later period had enough interactions.",
        plots=_plots(panels),
        bands=any(line.has_band for row in panels for panel in row for line in panel.lines),
        legend=_legend(summary),
        sections=sections,
        tables=[table for table in extra if _has_rows(table)],
        period_tables=period_tables(summary),
        meanings=MEANINGS,
        settings=settings_rows(summary.config),
        version=data.run.versions.get("perennial", ""),
        started=_format_minute(data.run.started),
        ended=_format_minute(data.run.ended) if data.run.ended else "",
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
) -> str:
    """Render a page that consists of sections only; see `render_page`."""
    return _render(
        title=title,
        subtitle=subtitle,
        findings=findings,
        sections=sections,
        meanings=meanings,
        settings=settings,
        version=version,
    )


_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("unfinished", "empty", "started", "ended"), ""),
    **dict.fromkeys(("plots", "legend", "tables", "period_tables"), ()),
    "means": None,
    "bands": False,
}
"""Values of the parts that a page does not have."""


def _render(sections: Sequence[Section], **parts: Any) -> str:
    """Fill in the template."""
    environment = Environment(
        loader=PackageLoader("perennial.replay.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        **{**_DEFAULTS, **parts},
        sections=[_with_markup(section) for section in sections],
        colours=COLOURS,
    )


def _plots(rows: Sequence[Sequence[Panel]]) -> list[MetricPlots]:
    """Draw panels, metric by metric."""
    return [
        MetricPlots(
            metric_label(panels[0].metric, panels[0].k),
            tuple(
                Plot(
                    panel.model,
                    Markup(  # noqa: S704 - drawn here, its label escaped
                        inline_svg(panel, f"plot-{row}-{place}", value_range(panels))
                    ),
                )
                for place, panel in enumerate(panels)
            ),
        )
        for row, panels in enumerate(rows)
    ]


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


def _legend(summary: RunSummary) -> list[tuple[str, str]]:
    return [
        (strategy, MARKER_SIGNS[number % len(MARKER_SIGNS)])
        for number, strategy in enumerate(style_order(summary))
    ]


def _has_rows(table: Table | None) -> bool:
    return table is not None and bool(table.rows)


def _title(data: RunData) -> str:
    source = data.run.config.get("source")
    return f"Replay of {source}" if source else "Replay"


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
