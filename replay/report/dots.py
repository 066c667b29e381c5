"""Dot charts of a table: a dot for each row, and a ring for the published figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perennial.replay.report.lines import COLOURS, STYLE, figure_element
from perennial.replay.report.tables import format_value, label_with_unit

OURS, PUBLISHED = ("ours", "●"), ("the paper's", "○")
"""Legend of the pictures."""

DOT_STYLE: Any = {**STYLE, "axes.grid.axis": "x", "ytick.major.pad": 6}
"""matplotlib style of dot charts."""


@dataclass(frozen=True)
class Dot:
    """One row: the mean over the seeds, and the values of the lowest and the highest."""

    label: str
    mean: float
    low: float
    high: float
    published: float | None = None


@dataclass(frozen=True)
class DotPanel:
    """Rows of one metric, from top to bottom."""

    metric: str
    k: int | None
    dots: tuple[Dot, ...]

    @property
    def label(self) -> str:
        """The metric with its unit."""
        return label_with_unit(self.metric, self.k)


def draw_dots(panels: Sequence[DotPanel], columns: int = 3) -> Figure:
    """Draw panels in a grid of `columns`, the rows named at the left, with one legend."""
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
    """Draw a panel as an SVG element for a page; see `figure_element`."""
    values = ", ".join(f"{dot.label} {format_value(panel.metric, dot.mean)}" for dot in panel.dots)
    with rc_context({**DOT_STYLE, "svg.fonttype": "none"}):
        figure = Figure(figsize=(5.0, 0.9 + 0.34 * len(panel.dots)), layout="constrained")
        _draw(figure.subplots(), panel)
        return figure_element(figure, name, f"{panel.label}: {values}")


def _draw(axes: Axes, panel: DotPanel) -> None:
    ours, theirs = COLOURS[0][0], COLOURS[1][0]
    rows = range(len(panel.dots))
    axes.hlines(rows, [one.low for one in panel.dots], [one.high for one in panel.dots], color=ours)
    published = [(one.published, row) for row, one in enumerate(panel.dots) if one.published]
    axes.plot(
        [one.mean for one in panel.dots], rows, linestyle="", marker="o", color=ours, label=OURS[0]
    )
    if published:
        axes.plot(
            [value for value, _ in published],
            [row for _, row in published],
            linestyle="",
            marker="o",
            markersize=8.5,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=theirs,
            label=PUBLISHED[0],
        )
    axes.set_yticks(list(rows), [one.label for one in panel.dots])
    axes.set_ylim(len(panel.dots) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.08)
    axes.set_xlabel(panel.label)
