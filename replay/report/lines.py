"""Line charts of each metric over the periods or another axis, one panel per model."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.tables import headline_metrics, label_with_unit, metric_label
from perennial.storage.base import escape_controls

# Palette of Okabe and Ito, readable with any common colour blindness; without its yellow, which is
# too faint on white. The second colour of each pair is for dark pages.
COLOURS: tuple[tuple[str, str], ...] = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8a3d"),
    ("#009e73", "#2fcf9f"),
    ("#cc79a7", "#e7a3c7"),
    ("#56b4e9", "#9bd6ff"),
    ("#e69f00", "#ffc247"),
    ("#4d4d4d", "#c8c8c8"),
)
# One marker more than colours, so that the pairs do not repeat before the 57th strategy.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKER_SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")
"""Markers as text, for legends on the page."""

_FONT = "DejaVu Sans"
_INK = "#1f2328"
_FAINT = "#d5d9de"
_BAND_ALPHA = 0.18

STYLE: Any = {
    "font.family": _FONT,
    "font.size": 11,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.color": _FAINT,
    "ytick.labelcolor": _INK,
    "ytick.left": False,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "svg.hashsalt": "perennial",
}
"""matplotlib style of all pictures."""


@dataclass(frozen=True)
class Line:
    """Values of one strategy over the periods, or along another axis.

    `style` is the index of its colour and marker, `low` and `high` are the lowest and highest seed.
    `periods` are ascending; empty for one constant value along the whole axis.
    """

    label: str
    style: int
    periods: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    @property
    def has_band(self) -> bool:
        """Return whether the seeds differ."""
        return list(self.low) != list(self.high)


@dataclass(frozen=True)
class Panel:
    """One metric of one model; `ticks` are labelled values of the horizontal axis, if any."""

    model: str
    metric: str
    k: int | None
    lines: tuple[Line, ...]
    x_label: str = "evaluated period"
    ticks: tuple[float, ...] = ()
    log: bool = False

    @property
    def y_label(self) -> str:
        """The metric with its unit."""
        return label_with_unit(self.metric, self.k)


def make_panels(summary: RunSummary, metric: str, k: int | None) -> tuple[Panel, ...]:
    """Build the panels of a metric, one per model; a strategy has the same style in each."""
    results = [r for r in summary.results if (r.metric, r.k) == (metric, k) and r.value is not None]
    strategies = style_order(summary)
    panels = []
    for model in dict.fromkeys(result.model for result in results):
        lines = []
        for style, strategy in enumerate(strategies):
            values: dict[int, list[float]] = {}
            for result in results:
                if (result.model, result.strategy) == (model, strategy):
                    values.setdefault(result.eval_period, []).append(result.value or 0.0)
            if values:
                periods = sorted(values)
                means = [float(np.mean(values[period])) for period in periods]
                low = [min(values[period]) for period in periods]
                high = [max(values[period]) for period in periods]
                lines.append(Line(strategy, style, periods, means, low, high))
        panels.append(Panel(model, metric, k, tuple(lines)))
    return tuple(panels)


def style_order(summary: RunSummary) -> tuple[str, ...]:
    """Return the strategies in the order that gives them their colours and markers."""
    return tuple(dict.fromkeys(result.strategy for result in summary.results))


def save_plots(summary: RunSummary, folder: Path) -> tuple[Path, ...]:
    """Write a PNG and an SVG per headline metric into an existing folder; return the files."""
    written: tuple[Path, ...] = ()
    for metric, k in headline_metrics(summary):
        panels = make_panels(summary, metric, k)
        if panels:
            with rc_context(STYLE):
                written += save_figure(draw_metric(panels), folder, file_stem(metric, k))
    return written


def file_stem(metric: str, k: int | None) -> str:
    """Return the file name of a metric without its ending, such as `hr-at-10`."""
    return metric_label(metric, k).lower().replace("@", "-at-")


def save_figure(figure: Figure, folder: Path, stem: str, *, tight: bool = True) -> tuple[Path, ...]:
    """Write a figure as PNG and as SVG, the same bytes each time; `tight` crops its margins."""
    bounds = "tight" if tight else None
    written = []
    for suffix in ("png", "svg"):
        path = folder / f"{stem}.{suffix}"
        metadata = {"Date": None} if suffix == "svg" else {}
        figure.savefig(path, dpi=160, metadata=metadata, facecolor="white", bbox_inches=bounds)
        written.append(path)
    return tuple(written)


def draw_metric(panels: Sequence[Panel]) -> Figure:
    """Draw a metric's panels side by side on one scale, with one legend."""
    figure = Figure(figsize=(1.2 + 4.6 * len(panels), 3.7), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, panel in zip(grid[0], panels, strict=True):
        _draw_panel(axes, panel)
        axes.set_title(panel.model, pad=10)
        axes.set_xlabel(panel.x_label)
    grid[0][0].set_ylabel(panels[0].y_label)
    styles = {line.label: line for panel in panels for line in panel.lines}
    handles = {
        handle.get_label(): handle
        for axes in grid[0]
        for handle in axes.get_legend_handles_labels()[0]
    }
    figure.legend(
        [handles[label] for label in styles],
        list(styles),
        loc="outside upper left",
        ncols=min(4, len(styles)),
        handlelength=2.4,
    )
    if any(line.has_band for panel in panels for line in panel.lines):
        figure.supxlabel("Line: mean of the seeds. Band: lowest to highest seed.", fontsize=9)
    return figure


def value_range(panels: Sequence[Panel]) -> tuple[float, float]:
    """Return a range of the value axis that contains all lines and bands of some panels."""
    low = min(value for panel in panels for line in panel.lines for value in line.low)
    high = max(value for panel in panels for line in panel.lines for value in line.high)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def inline_svg(panel: Panel, name: str, limits: tuple[float, float]) -> str:
    """Draw a panel as an SVG element, its values within `limits`; see `figure_element`."""
    with rc_context({**STYLE, "svg.fonttype": "none", "font.size": 11}):
        figure = Figure(figsize=(5.0, 3.0), layout="constrained")
        axes = figure.subplots()
        _draw_panel(axes, panel)
        axes.set_ylim(limits)
        axes.set_xlabel(panel.x_label)
        along = "period" if panel.x_label == Panel.x_label else panel.x_label
        return figure_element(figure, name, f"{panel.y_label} of {panel.model} by {along}")


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw lines, markers and bands, so that later strategies do not hide earlier markers."""
    if panel.log:
        axes.set_xscale("log")
    for line in panel.lines:
        if line.periods:
            _draw_line(axes, line)
        else:
            _draw_constant(axes, line)
    if panel.ticks:
        axes.set_xticks(panel.ticks, [f"{tick:,g}" for tick in panel.ticks])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.03, y=0.08)


def _draw_line(axes: Axes, line: Line) -> None:
    colour = COLOURS[line.style % len(COLOURS)][0]
    if line.has_band:
        axes.fill_between(
            line.periods, line.low, line.high, color=colour, alpha=_BAND_ALPHA, linewidth=0
        )
    axes.plot(
        line.periods,
        line.mean,
        color=colour,
        marker=MARKERS[line.style % len(MARKERS)],
        markeredgewidth=0,
        label=line.label,
    )


def _draw_constant(axes: Axes, line: Line) -> None:
    """Draw one value along the whole axis: dashed, without markers."""
    colour = COLOURS[line.style % len(COLOURS)][0]
    if line.has_band:
        axes.axhspan(line.low[0], line.high[0], color=colour, alpha=_BAND_ALPHA, linewidth=0)
    axes.axhline(line.mean[0], color=colour, linestyle="--", linewidth=1.5, label=line.label)


def figure_element(figure: Figure, name: str, label: str, dpi: float | str = "figure") -> str:
    """Return a figure as an SVG element with ids of its own, in the page's font and colours.

    The page sets `--ink`, `--faint` and `--series-0`, `--series-1`, ...; text stays text. `name` is
    the prefix of the ids, different for each element on a page, and `label` a description for
    screen readers.
    """
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata, dpi=dpi)
    svg = buffer.getvalue()
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = element.replace(
        "<svg", f'<svg role="img" aria-label="{escape(escape_controls(label))}"', 1
    )
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r"url\(#", f"url(#{name}-", element)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    element = element.replace(f"'{_FONT}'", "inherit")
    element = element.replace(_INK, "var(--ink)").replace(_FAINT, "var(--faint)")
    for number, (light, _dark) in enumerate(COLOURS):
        element = element.replace(light, f"var(--series-{number})")
    return element.strip()
