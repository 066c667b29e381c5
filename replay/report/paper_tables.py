"""The tables of a study on the paper's split."""

from collections.abc import Sequence

from perennial.replay.report.tables import (
    Table,
    TableCell,
    format_bytes,
    format_seconds,
    format_value,
    metric_label,
)
from perennial.replay.study.paper.groups import Estimate, Group, choice_of
from perennial.replay.study.paper.published import SHOWN, Figure, difference_percent
from perennial.replay.study.paper.records import CellRecord
from perennial.replay.study.paper.report import StudyResults
from perennial.replay.study.paper.sentences import share_of_whole


def figures_table(found: StudyResults) -> Table:
    """The six figures of each group; below each the standard error over the seeds."""
    best = {figure: _best(found.groups, figure) for figure in SHOWN}
    rows = tuple(
        (*_labels(found, group), *(_entry(group, figure, best[figure]) for figure in SHOWN))
        for group in found.groups
    )
    seeds = len(found.groups[0].records) if found.groups else 0
    note = "Test users; best in bold."
    if seeds > 1:
        note += f" Mean of {seeds} seeds ± its standard error, were other seeds drawn."
    return Table(
        title="Figures",
        columns=(*_columns(found), *(metric_label(*figure) for figure in SHOWN)),
        rows=rows,
        num_labels=2,
        note=note,
        long_labels=True,
    )


def published_table(found: StudyResults) -> Table | None:
    """Ours beside the paper's; `None` where it has none."""
    if not found.has_published:
        return None
    figures = [
        figure
        for figure in SHOWN
        if any(found.published(group, figure) is not None for group in found.groups)
    ]
    rows = []
    for group in found.groups:
        entries = [_beside(found, group, figure) for figure in figures]
        if any(entry.detail for entry in entries):
            rows.append((*_labels(found, group), *entries))
    return Table(
        title="Beside the paper's figures",
        columns=(*_columns(found), *(metric_label(*figure) for figure in figures)),
        rows=tuple(rows),
        num_labels=2,
        note="How far our figures are from the paper's, in per cent of these.",
    )


def shares_table(found: StudyResults) -> Table | None:
    """HR@10 along the axis in per cent of the model's on all users; `None` without an axis."""
    axis = found.study.axis
    if axis is None:
        return None
    groups = found.groups
    places = sorted({place for one in groups if (place := axis.place(one)) is not None})
    rows = []
    for model, line in dict.fromkeys((one.model, axis.line(one)) for one in groups):
        mine = {
            axis.place(one): share_of_whole(one, groups)
            for one in groups
            if (one.model, axis.line(one)) == (model, line)
        }
        if any(place in mine for place in places):
            shares = [mine.get(place) for place in places]
            entries = [TableCell("–" if one is None else f"{one:.1f}%") for one in shares]
            rows.append((TableCell(model), TableCell(line), *entries))
    return Table(
        title="In relation to all users",
        columns=("model", "trained on", *(axis.name(place) for place in places)),
        rows=tuple(rows),
        num_labels=2,
        note="HR@10 in per cent of the same model's on all users"
        + (" without noise." if any(one.noise for one in groups) else "."),
    )


def costs_table(found: StudyResults) -> Table:
    """Seconds and memory of a cell."""
    rows = []
    for group in found.groups:
        made = group.mean_seconds("rows")
        texts = (
            _mean([record.num_rows for record in group.records]),
            _mean([record.num_interactions for record in group.records]),
            format_seconds(made) if group.users is not None else "–",
            format_seconds(group.mean_seconds("fit")),
            format_seconds(group.mean_seconds("test")),
            format_bytes(group.peak_bytes),
        )
        rows.append((*_labels(found, group), *map(TableCell, texts)))
    return Table(
        title="Time and memory",
        columns=(
            *_columns(found),
            "rows",
            "interactions",
            "made in",
            "fit",
            "test",
            "peak",
        ),
        rows=tuple(rows),
        num_labels=2,
        note="Of a seed, in a process of one thread. Made in: distilling or sampling the rows. The"
        " fit includes the choice of settings. Peak: the largest size of a process that made the"
        " rows, or fitted and tested.",
        long_labels=True,
    )


def choices_table(found: StudyResults) -> Table:
    """What each model chose."""
    rows = tuple(
        (
            *_labels(found, group),
            TableCell(_range([_validation(record) for record in group.records])),
            TableCell(" | ".join(dict.fromkeys(_choice(record) for record in group.records))),
        )
        for group in found.groups
    )
    return Table(
        title="What was chosen",
        columns=(*_columns(found), "validation", "chosen"),
        rows=rows,
        num_labels=2,
        num_remarks=1,
        note="By HR@100 on the validation interactions, or nDCG@100 for mvae. Where the seeds chose"
        " differently, each choice once. All trials stand in report.json, with each cell.",
    )


def _columns(found: StudyResults) -> tuple[str, str]:
    """Headings of the labels; the page has the last one large."""
    return ("trained on", "model") if found.study.axis is None else ("model", "trained on")


def _labels(found: StudyResults, group: Group) -> tuple[TableCell, TableCell]:
    model, rows = TableCell(group.model), TableCell(group.name)
    return (rows, model) if found.study.axis is None else (model, rows)


def _best(groups: Sequence[Group], figure: Figure) -> float | None:
    return max((mean for one in groups if (mean := one.mean(figure)) is not None), default=None)


def _entry(group: Group, figure: Figure, best: float | None) -> TableCell:
    one: Estimate | None = group.estimates.get(figure)
    if one is None:
        return TableCell("–")
    detail = "" if one.stderr is None else f"± {format_value(figure[0], one.stderr)}"
    return TableCell(format_value(figure[0], one.mean), detail, best=one.mean == best)


def _beside(found: StudyResults, group: Group, figure: Figure) -> TableCell:
    ours, theirs = group.mean(figure), found.published(group, figure)
    if ours is None or theirs is None:
        return TableCell("–")
    difference = f"{difference_percent(ours, theirs):+.1f}%".replace("-", "−")
    return TableCell(difference, f"of {format_value(figure[0], theirs)}")


def _validation(record: CellRecord) -> float | None:
    """The best score."""
    # ∞-AE tells the score of each λ instead.
    scores = record.fit_report.get("validation")
    if isinstance(scores, dict) and scores:
        return float(max(scores.values()))
    choice = choice_of(record)
    for name in ("validation_HR@100", "validation_nDCG@100"):
        if choice.get(name) is not None:
            return float(choice[name])
    return None


def _range(values: Sequence[float | None]) -> str:
    """`57.51`, or `56.02 to 57.51`."""
    known = sorted(value for value in values if value is not None)
    return " to ".join(dict.fromkeys(f"{value:.2f}" for value in known[:1] + known[-1:])) or "–"


def _choice(record: CellRecord) -> str:
    told = {
        name: value
        for name, value in choice_of(record).items()
        # A closed form takes no steps.
        if not name.startswith("validation") and (name, value) != ("steps", 0)
    }
    texts = [
        f"{'λ' if name == 'reg' else name} {f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in told.items()
    ]
    return ", ".join(texts) or "nothing"


def _mean(values: Sequence[int]) -> str:
    """Over the seeds."""
    return f"{sum(values) / len(values):,.0f}"
