"""Pictures of a table: a dot for each row, and where something was published a ring beside it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perennial.replay.report.lines import COLOURS, STYLE, fit_for_page
from perennial.replay.report.tables import format_value, metric_label

OURS, PUBLISHED = ("ours", "●"), ("the paper's", "○")
"""Legend of the pictures."""

DOT_STYLE: Any = {**STYLE, "axes.grid.axis": "x", "ytick.major.pad": 6}
"""How these pictures look."""


@dataclass(frozen=True)
class Dot:
    """A row.

    Attributes:
        label: of the row.
        mean: over the seeds.
        low: the lowest seed.
        high: the highest.
        published: `None` where nothing was.
    """

    label: str
    mean: float
    low: float
    high: float
    published: float | None = None


@dataclass(frozen=True)
class DotPanel:
    """A metric, rows from top to bottom."""

    metric: str
    k: int | None
    dots: tuple[Dot, ...]

    @property
    def label(self) -> str:
        """The metric with its unit."""
        label = metric_label(self.metric, self.k)
        return label if self.metric.startswith("AUC") else f"{label} (%)"


def draw_dots(panels: Sequence[DotPanel], columns: int = 3) -> Figure:
    """Panels in rows of a few, the table's rows named at the left, with one legend."""
    high = -(-len(panels) // columns)
    wide = min(columns, len(panels))
    rows = max(len(panel.dots) for panel in panels)
    size = (2.0 + 3.1 * wide, 0.5 + high * (0.8 + 0.36 * rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(high, wide, sharey=True, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def inline_dots(panel: DotPanel, name: str) -> str:
    """A panel as an SVG element for a page; see `perennial.replay.report.lines.fit_for_page`."""
    with rc_context({**DOT_STYLE, "svg.fonttype": "none"}):
        figure = Figure(figsize=(5.0, 0.9 + 0.34 * len(panel.dots)), layout="constrained")
        _draw(figure.subplots(), panel)
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    values = ", ".join(f"{dot.label} {format_value(panel.metric, dot.mean)}" for dot in panel.dots)
    return fit_for_page(buffer.getvalue(), name, f"{panel.label}: {values}")


def _draw(axes: Axes, panel: DotPanel) -> None:
    ours, theirs = COLOURS[0][0], COLOURS[1][0]
    places = range(len(panel.dots))
    axes.hlines(
        places, [one.low for one in panel.dots], [one.high for one in panel.dots], color=ours
    )
    known = [(one.published, place) for place, one in enumerate(panel.dots) if one.published]
    axes.plot(
        [one.mean for one in panel.dots],
        places,
        linestyle="",
        marker="o",
        color=ours,
        label=OURS[0],
    )
    if known:
        axes.plot(
            [value for value, _ in known],
            [place for _, place in known],
            linestyle="",
            marker="o",
            markersize=8.5,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=theirs,
            label=PUBLISHED[0],
        )
    axes.set_yticks(list(places), [one.label for one in panel.dots])
    axes.set_ylim(len(panel.dots) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.08)
    axes.set_xlabel(panel.label)
