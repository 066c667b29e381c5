"""A run as one HTML file that needs nothing else: pictures inside, readable on a phone."""

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
    fits_table,
    judged_table,
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
        "Of what a user really did next, the share that stands among the first k recommendations;"
        " with more than k such items, the share of the k places. Per cent, mean over users.",
    ),
    (
        "nDCG@k",
        "The same, but a hit counts more the higher it stands, relative to a perfect order. Per"
        " cent, mean over users.",
    ),
    (
        "PSP@k",
        "Like HR, but a hit on a rare item counts more (inverse propensity, from how often items"
        " occur up to the period of the fit), relative to the best that could be had. The scale"
        " is that of the paper's authors, who divide by the number of places twice; PSPn divides"
        " once.",
    ),
    (
        "AUC",
        "How often an item that a user took outscores one drawn at random, all users' scores"
        " pooled; 0.5 is chance. AUCu ranks within each user, against all items, and"
        " averages over users.",
    ),
    (
        "±",
        "Standard error: how much the mean would vary with other users of the same kind. Users are"
        " drawn anew, each with all their periods, so it says nothing about other periods.",
    ),
)


@dataclass(frozen=True)
class Plot:
    """A picture on the page."""

    model: str
    svg: Markup


@dataclass(frozen=True)
class MetricPlots:
    """The pictures of a metric, one per model, on one scale."""

    label: str
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page that only some runs have.

    Attributes:
        title: its heading.
        note: a paragraph under it.
        tables: drawn in this order.
        pictures: heading -> what stands under it, each a caption and an SVG element of our own.
        legend: of the pictures, names and signs; their colours follow from the order.
        links: words and relative addresses of other pages of the report.
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

    Names and settings are escaped: they come from files and command lines. The pictures are our
    own and go in as they are.

    Args:
        data: the run.
        summary: of the same run.
        title: of the page, unless it is a replay.
        findings: sentences at the top, unless what the differences say.
        sections: stand between the pictures and the finer tables.
    """
    panels = [make_panels(summary, *one) for one in headline_metrics(summary)]
    extra = (
        differences_table(summary),
        fits_table(data),
        judged_table(data),
        periods_table(data.periods),
        timings_table(data),
    )
    return _render(
        title=title or _title(data),
        subtitle=_subtitle(data),
        unfinished=_unfinished(data),
        findings=headline(summary) if findings is None else findings,
        means=means_table(summary) if summary.means else None,
        empty="Nothing could be judged: no user of a later period had enough to ask about.",
        plots=_plots(panels),
        bands=any(line.has_band for row in panels for panel in row for line in panel.lines),
        legend=_legend(summary),
        sections=sections,
        tables=[table for table in extra if _has_rows(table)],
        period_tables=period_tables(summary),
        meanings=MEANINGS,
        settings=settings_rows(summary.config),
        version=data.run.versions.get("perennial", ""),
        started=_minute(data.run.started),
        ended=_minute(data.run.ended) if data.run.ended else "",
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
    """Render a page that is no replay's, of the same make; see `render_page`.

    Args:
        title: of the page.
        subtitle: a line below it.
        sections: all that it has.
        version: of Perennial.
        findings: sentences at the top.
        meanings: words and what they mean.
        settings: names and values.
    """
    return _render(
        title=title,
        subtitle=subtitle,
        findings=findings,
        sections=sections,
        meanings=meanings,
        settings=settings,
        version=version,
    )


_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("unfinished", "empty", "started", "ended"), ""),
    **dict.fromkeys(("plots", "legend", "tables", "period_tables"), ()),
    "means": None,
    "bands": False,
}
"""What a page has of the parts that it is not given."""


def _render(sections: Sequence[Section], **parts: Any) -> str:
    """Fill in the template."""
    environment = Environment(
        loader=PackageLoader("perennial.replay.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        **{**_NOTHING, **parts},
        sections=[_with_markup(section) for section in sections],
        colours=COLOURS,
    )


def _plots(rows: Sequence[Sequence[Panel]]) -> list[MetricPlots]:
    """Draw the panels, metric by metric."""
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
    """The pictures marked as ours."""
    pictures = {
        heading: [
            (caption, Markup(svg))  # noqa: S704 - drawn here, its label escaped
            for caption, svg in together
        ]
        for heading, together in section.pictures.items()
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
    """What ran on what."""
    interactions = sum(period.interactions for period in data.periods)
    seconds = sum(sum(cell.stages.values()) for cell in data.cells)
    seeds = len({cell.seed for cell in data.cells})
    return (
        f"{interactions:,} interactions in {len(data.periods)} periods; {len(data.cells)} refits"
        f" with {seeds} seed{'' if seeds == 1 else 's'} in {format_seconds(seconds)}."
    )


def _unfinished(data: RunData) -> str:
    """A warning about a run that did not come to its end; empty for one that did."""
    if data.run.status in ("finished", "live"):
        return ""
    here = "" if data.until else f": {len(data.cells)} of {data.run.num_cells} refits are here"
    return (
        f"This run is not finished{here}."
        " Means are over the periods that each strategy has; the same command again goes on from"
        " here."
    )


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
