"""Tables of a study on the paper's split."""

from collections.abc import Sequence

from perennial.replay.report.drawing import Table, TableCell, make_row
from perennial.replay.report.tables import format_bytes, format_seconds, format_value, metric_label
from perennial.replay.study.paper.groups import Estimate, Group, chosen_settings, share_of_whole
from perennial.replay.study.paper.paper_figures import SHOWN, Figure, difference_percent
from perennial.replay.study.paper.records import CellRecord
from perennial.replay.study.paper.report import StudyResults


def figures_table(results: StudyResults) -> Table:
    """Tabulate the six figures of each group, with their standard errors over the seeds."""
    best = {figure: _best(results.groups, figure) for figure in SHOWN}
    rows = tuple(
        make_row(
            *_labels(results, group),
            *(_figure_cell(group, figure, best[figure]) for figure in SHOWN),
        )
        for group in results.groups
    )
    seeds = len(results.groups[0].records) if results.groups else 0
    note = "Test users; best in bold."
    if seeds > 1:
        note += f" Mean of {seeds} seeds ± its standard error over seeds."
    else:
        note += " One seed: nothing shows how much other seeds would differ."
    return Table(
        title="Figures",
        columns=(*_columns(results), *(metric_label(*figure) for figure in SHOWN)),
        rows=rows,
        num_labels=2,
        note=note,
        long_labels=True,
    )


def published_table(results: StudyResults) -> Table | None:
    """Compare our figures with the paper's; `None` if it has none."""
    if not results.has_published:
        return None
    figures = [
        figure
        for figure in SHOWN
        if any(results.published(group, figure) is not None for group in results.groups)
    ]
    rows = []
    for group in results.groups:
        entries = [_comparison_cell(results, group, figure) for figure in figures]
        if any(entry.detail for entry in entries):
            rows.append(make_row(*_labels(results, group), *entries))
    return Table(
        title="Compared with the paper's figures",
        columns=(*_columns(results), *(metric_label(*figure) for figure in figures)),
        rows=tuple(rows),
        num_labels=2,
        note="Difference of our figures from the paper's, in per cent of the paper's.",
    )


def shares_table(results: StudyResults) -> Table | None:
    """Tabulate HR@10 along the axis in per cent of that on all users; `None` without an axis."""
    axis = results.study.axis
    if axis is None:
        return None
    groups = results.groups
    places = sorted({place for one in groups if (place := axis.place(one)) is not None})
    rows = []
    for model, line in dict.fromkeys((one.model, axis.line(one)) for one in groups):
        shares = {
            axis.place(one): share_of_whole(one, groups)
            for one in groups
            if (one.model, axis.line(one)) == (model, line)
        }
        if any(place in shares for place in places):
            known = [shares.get(place) for place in places]
            entries = ["–" if one is None else f"{one:.1f}%" for one in known]
            rows.append(make_row(model, line, *entries))
    return Table(
        title="Relative to all users",
        columns=("model", "trained on", *(axis.name(place) for place in places)),
        rows=tuple(rows),
        num_labels=2,
        note="HR@10 in per cent of that of the same model trained on all users"
        + (" without noise." if any(one.noise for one in groups) else "."),
    )


def costs_table(results: StudyResults) -> Table:
    """Tabulate seconds and memory of a cell."""
    rows = []
    for group in results.groups:
        made = group.mean_seconds("rows")
        texts = (
            _mean([record.num_rows for record in group.records]),
            _mean([record.num_interactions for record in group.records]),
            format_seconds(made) if group.users is not None else "–",
            format_seconds(group.mean_seconds("fit")),
            format_seconds(group.mean_seconds("test")),
            format_bytes(group.peak_bytes),
        )
        rows.append(make_row(*_labels(results, group), *texts))
    return Table(
        title="Time and memory",
        columns=(*_columns(results), "rows", "interactions", "made in", "fit", "test", "peak"),
        rows=tuple(rows),
        num_labels=2,
        note="Per seed, in a process with one thread. Made in: distilling or sampling the rows."
        " Fit: includes the choice of settings. Peak: largest memory of the processes that made"
        " the rows, or fitted and tested.",
        long_labels=True,
    )


def choices_table(results: StudyResults) -> Table:
    """Tabulate the settings that validation chose."""
    rows = tuple(
        make_row(
            *_labels(results, group),
            _range([_validation(record) for record in group.records]),
            " | ".join(dict.fromkeys(_choice(record) for record in group.records)),
        )
        for group in results.groups
    )
    return Table(
        title="Chosen settings",
        columns=(*_columns(results), "validation", "chosen"),
        rows=rows,
        num_labels=2,
        num_remarks=1,
        note="By HR@100 on the validation interactions, or nDCG@100 for mvae. If the seeds differ,"
        " each choice is listed once. All trials are in report.json, with each cell.",
    )


def _columns(results: StudyResults) -> tuple[str, str]:
    """Return the headings of the labels; the page shows the last one large."""
    return ("trained on", "model") if results.study.axis is None else ("model", "trained on")


def _labels(results: StudyResults, group: Group) -> tuple[str, ...]:
    labels = (group.model, group.name)
    return labels[::-1] if results.study.axis is None else labels


def _best(groups: Sequence[Group], figure: Figure) -> float | None:
    return max((mean for one in groups if (mean := one.mean(figure)) is not None), default=None)


def _figure_cell(group: Group, figure: Figure, best: float | None) -> TableCell:
    one: Estimate | None = group.estimates.get(figure)
    if one is None:
        return TableCell("–")
    detail = "" if one.stderr is None else f"± {format_value(figure[0], one.stderr)}"
    return TableCell(format_value(figure[0], one.mean), detail, best=one.mean == best)


def _comparison_cell(results: StudyResults, group: Group, figure: Figure) -> TableCell:
    ours, theirs = group.mean(figure), results.published(group, figure)
    if ours is None or theirs is None:
        return TableCell("–")
    difference = f"{difference_percent(ours, theirs):+.1f}%".replace("-", "−")
    return TableCell(difference, f"of {format_value(figure[0], theirs)}")


def _validation(record: CellRecord) -> float | None:
    # ∞-AE reports the score of each λ instead.
    scores = record.fit_report.get("validation")
    if isinstance(scores, dict) and scores:
        return float(max(scores.values()))
    choice = chosen_settings(record)
    for name in ("validation_HR@100", "validation_nDCG@100"):
        if choice.get(name) is not None:
            return float(choice[name])
    return None


def _range(values: Sequence[float | None]) -> str:
    """Format the range of the known values, such as `57.51` or `56.02 to 57.51`."""
    known = sorted(value for value in values if value is not None)
    return " to ".join(dict.fromkeys(f"{value:.2f}" for value in known[:1] + known[-1:])) or "–"


def _choice(record: CellRecord) -> str:
    chosen = {
        name: value
        for name, value in chosen_settings(record).items()
        # A closed form has no steps.
        if not name.startswith("validation") and (name, value) != ("steps", 0)
    }
    texts = [
        f"{'λ' if name == 'reg' else name} {f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in chosen.items()
    ]
    return ", ".join(texts) or "nothing"


def _mean(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):,.0f}"
