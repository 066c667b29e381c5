"""Study of the strategies over the periods as a page, numbers and pictures, with heat maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from perennial.replay.analysis.transfer import TransferMatrix
from perennial.replay.report.lines import STYLE, figure_element, file_stem, save_figure, save_plots
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

# Its lightness rises evenly, so that it is readable without colour.
_MAP = "cividis"
_STYLE = {**STYLE, "axes.grid": False}


def colour_range(matrices: Sequence[TransferMatrix]) -> tuple[float, float]:
    """Return one colour scale for several maps."""
    known = np.concatenate([one.values[~np.isnan(one.values)] for one in matrices])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def inline_heatmap(matrix: TransferMatrix, name: str, limits: tuple[float, float]) -> str:
    """Draw a map as an SVG element for a page, its colours over `limits`; see `figure_element`."""
    label = metric_label(matrix.metric, matrix.k)
    with rc_context({**_STYLE, "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.0, 3.4), layout="constrained")
        axes = figure.subplots()
        image = _draw(axes, matrix, limits)
        axes.set_xlabel("evaluated period")
        axes.set_ylabel("fitted up to period")
        bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
        bar.outline.set_visible(False)
        label = f"{label} of {matrix.model} with {matrix.strategy}, by fit and evaluated period"
        return figure_element(figure, name, label, dpi=144)


def save_heatmaps(matrices: Sequence[TransferMatrix], folder: Path) -> tuple[Path, ...]:
    """Write a PNG and an SVG of all the maps of a metric, a row per model."""
    models = list(dict.fromkeys(one.model for one in matrices))
    strategies = list(dict.fromkeys(one.strategy for one in matrices))
    stem = f"transfer-{file_stem(matrices[0].metric, matrices[0].k)}"
    with rc_context(_STYLE):
        size = (1.0 + 2.9 * len(strategies), 0.8 + 2.8 * len(models))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(models), len(strategies), sharex=True, sharey=True, squeeze=False
        )
        for row, model in zip(grid, models, strict=True):
            of_model = {one.strategy: one for one in matrices if one.model == model}
            limits = colour_range(list(of_model.values()))
            for axes, strategy in zip(row, strategies, strict=True):
                if strategy not in of_model:
                    axes.set_visible(False)
                    continue
                image = _draw(axes, of_model[strategy], limits)
                axes.set_title(f"{model}, {strategy}", fontsize=10)
            figure.colorbar(image, ax=list(row), fraction=0.02, pad=0.01)
        figure.supxlabel("evaluated period", fontsize=11)
        figure.supylabel("fitted up to period", fontsize=11)
        return save_figure(figure, folder, stem, tight=False)


def _draw(axes: Axes, matrix: TransferMatrix, limits: tuple[float, float]) -> AxesImage:
    """Draw the cells, and a stepped line between past and future periods of each fit."""
    num_fits, num_periods = matrix.values.shape
    image = axes.imshow(
        np.ma.masked_invalid(matrix.values),
        cmap=_MAP,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
        aspect="auto",
        extent=(0.5, num_periods + 0.5, num_fits + 0.5, 0.5),
    )
    fits = np.arange(1, num_fits + 1)
    steps = np.column_stack([fits - 0.5, fits + 0.5]).ravel()
    outline = [withStroke(linewidth=3.0, foreground="#1f2328")]
    axes.plot(np.repeat(fits + 0.5, 2), steps, color="white", linewidth=1.5, path_effects=outline)
    axes.set_xlim(0.5, num_periods + 0.5)
    axes.set_ylim(num_fits + 0.5, 0.5)
    axes.set_xticks(_ticks(num_periods))
    axes.set_yticks(_ticks(num_fits))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _ticks(count: int) -> list[int]:
    """Return 1 and a few more values with equal distances."""
    return list(range(1, count + 1, -(-count // 6)))


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
