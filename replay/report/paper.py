"""Study on the paper's split as a page, numbers, a table and pictures, and an index page."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context

from perennial.replay.report.dots import (
    DOT_STYLE,
    OURS,
    PUBLISHED,
    Dot,
    DotPanel,
    draw_dots,
    inline_dots,
)
from perennial.replay.report.lines import (
    MARKER_SIGNS,
    STYLE,
    Line,
    Panel,
    draw_metric,
    file_stem,
    inline_svg,
    save_figure,
    value_range,
)
from perennial.replay.report.page import MEANINGS, Section, render_sections, table_section
from perennial.replay.report.paper_tables import (
    choices_table,
    costs_table,
    figures_table,
    published_table,
    shares_table,
)
from perennial.replay.report.run import PAGE, write_folder
from perennial.replay.report.run_tables import settings_rows
from perennial.replay.report.tables import metric_label
from perennial.replay.study.paper.base import Axis
from perennial.replay.study.paper.groups import Group
from perennial.replay.study.paper.paper_figures import SHOWN, Figure
from perennial.replay.study.paper.registry import PAPER_STUDIES, find_study
from perennial.replay.study.paper.report import StudyResults
from perennial.storage.errors import UserError
from perennial.storage.objects.table_files import write_table

TABLE = "table.parquet"
INDEX = "index.html"

_MEANINGS = (
    *(one for one in MEANINGS if one[0] != "±"),
    ("±", "Standard error over the seeds: how much the mean would vary with other seeds."),
    (
        "user_stderr",
        "In the files: how much a figure would vary with other test users of the same kind.",
    ),
)


def write_paper_study(results: StudyResults, folder: Path) -> tuple[Path, ...]:
    """Write the page, the numbers and pictures of a study into its own folder, and the index.

    `folder` is that of all studies; the files of an earlier run of this study are replaced. The
    page is the first of the files that are returned.
    """
    own = folder / results.name
    written = write_folder(
        own, render_paper_study(results), results.to_json(), lambda plots: _save(results, plots)
    )
    write_table(results.to_table(), own / TABLE)
    return (*written, own / TABLE, _write_index(folder, results))


def render_paper_study(results: StudyResults) -> str:
    """Render the study as one self-contained HTML page."""
    others = [make(results) for make in (published_table, shares_table, choices_table, costs_table)]
    sections = (
        Section("Question", results.study.about),
        table_section(figures_table(results)),
        _pictures(results),
        *(table_section(table) for table in others if table is not None),
    )
    split = results.split
    train, validation, test = split.num_interactions
    return render_sections(
        f"{results.study.title} on {split.source}",
        f"{split.num_users:,} users, {split.num_items:,} items; {train:,} interactions in train,"
        f" {validation:,} in validation, {test:,} in test: {split.origin}.",
        findings=results.study.describe(results.groups),
        sections=sections,
        meanings=_MEANINGS,
        settings=settings_rows(results.config),
        version=results.records[0].versions.get("perennial", "") if results.records else "",
    )


def make_axis_panels(groups: Sequence[Group], axis: Axis, figure: Figure) -> tuple[Panel, ...]:
    """Build a panel per model, with a line per sampler in the same style in every panel."""
    styles = style_order(groups, axis)
    ticks = sorted({place for one in groups if (place := axis.place(one)) is not None})
    panels = []
    for model in dict.fromkeys(group.model for group in groups):
        of_model = [one for one in groups if one.model == model and figure in one.estimates]
        lines = [
            _line([one for one in of_model if axis.line(one) == label], label, number, axis, figure)
            for number, label in enumerate(styles)
            if any(axis.line(one) == label for one in of_model)
        ]
        panels.append(Panel(model, *figure, tuple(lines), axis.label, tuple(ticks), log=axis.log))
    return tuple(panels)


def style_order(groups: Sequence[Group], axis: Axis) -> tuple[str, ...]:
    """Return the lines in the order that gives them their colours and markers."""
    return tuple(dict.fromkeys(axis.line(group) for group in groups))


def make_dot_panel(results: StudyResults, figure: Figure) -> DotPanel:
    """Build a panel with a dot per group."""
    dots = []
    for group in results.groups:
        mean = group.mean(figure)
        if mean is not None:
            low, high = _range(group, figure)
            label = group.model if group.users is None else f"{group.model}, {group.rows_name}"
            dots.append(Dot(label, mean, low, high, results.published(group, figure)))
    return DotPanel(*figure, tuple(dots))


def _pictures(results: StudyResults) -> Section:
    if results.study.axis is None:
        panels = [make_dot_panel(results, figure) for figure in SHOWN]
        pictures = {
            "": [
                (metric_label(panel.metric, panel.k), inline_dots(panel, f"dots-{number}"))
                for number, panel in enumerate(panels)
                if panel.dots
            ]
        }
        legend = [OURS, PUBLISHED] if results.has_published else []
        return Section("Pictures", pictures=pictures, legend=legend)
    by_heading: dict[str, list[tuple[str, str]]] = {}
    models = {group.model for group in results.groups}
    for number, figure in enumerate(SHOWN):
        lines = make_axis_panels(results.groups, results.study.axis, figure)
        lines = tuple(panel for panel in lines if panel.lines)
        for place, panel in enumerate(lines):
            svg = inline_svg(panel, f"plot-{number}-{place}", value_range(lines))
            label = metric_label(*figure)
            # With one model, the metrics are placed next to one another.
            heading, caption = (label, panel.model) if len(models) > 1 else ("", label)
            by_heading.setdefault(heading, []).append((caption, svg))
    return Section(
        "Pictures",
        "Lines are means over the seeds, bands reach from the lowest seed to the highest; dashed"
        " lines are models trained on all users, to which the axis does not apply.",
        pictures=by_heading,
        legend=_legend(results.groups, results.study.axis),
    )


def _legend(groups: Sequence[Group], axis: Axis) -> list[tuple[str, str]]:
    """Return the lines with their markers; a dash for one value along the whole axis."""
    constant = {axis.line(group) for group in groups if axis.place(group) is None}
    return [
        (label, "╌╌" if label in constant else MARKER_SIGNS[number % len(MARKER_SIGNS)])
        for number, label in enumerate(style_order(groups, axis))
    ]


def _save(results: StudyResults, plots: Path) -> tuple[Path, ...]:
    written: tuple[Path, ...] = ()
    if results.study.axis is None:
        panels = [panel for one in SHOWN if (panel := make_dot_panel(results, one)).dots]
        with rc_context(DOT_STYLE):
            return save_figure(draw_dots(panels), plots, results.name) if panels else ()
    with rc_context(STYLE):
        for figure in SHOWN:
            panels_of = make_axis_panels(results.groups, results.study.axis, figure)
            if all(panel.lines for panel in panels_of):
                written += save_figure(draw_metric(panels_of), plots, file_stem(*figure))
    return written


def _line(groups: Sequence[Group], label: str, style: int, axis: Axis, figure: Figure) -> Line:
    places = [axis.place(group) for group in groups]
    along = [place for place in places if place is not None]
    ranges = [_range(group, figure) for group in groups]
    means = [group.estimates[figure].mean for group in groups]
    return Line(
        label, style, along, means, [low for low, _ in ranges], [high for _, high in ranges]
    )


def _range(group: Group, figure: Figure) -> tuple[float, float]:
    values = [
        one.mean
        for record in group.records
        for one in record.values
        if (one.metric, one.k) == figure and one.mean is not None
    ]
    return min(values), max(values)


def _write_index(folder: Path, results: StudyResults) -> Path:
    links = [
        (find_study(name).title, f"{name}/{PAGE}")
        for name in PAPER_STUDIES
        if (folder / name / PAGE).is_file()
    ]
    version = results.records[0].versions.get("perennial", "") if results.records else ""
    page = render_sections(
        "The paper's studies",
        "Each study is a page of its own.",
        sections=[Section("Studies", links=links)],
        version=version,
    )
    path = folder / INDEX
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); name another folder"
        ) from error
    return path
