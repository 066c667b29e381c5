"""The report of a run as files in a folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from perennial.replay.analysis.run import RunData
from perennial.replay.analysis.run_comparison import RunComparison
from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.lines import save_plots
from perennial.replay.report.page import Section, render_page
from perennial.replay.report.run_tables import plain_value
from perennial.replay.report.tables import (
    Table,
    TableCell,
    headline_metrics,
    paired_table,
    tell_first,
)
from perennial.storage.errors import UserError


def against_section(against: RunComparison, summary: RunSummary) -> Section:
    """Both tables, for the page."""
    return Section(
        f"Beside run {against.other_run}",
        " ".join(tell_against(against, summary)),
        against_tables(against, summary),
    )


def against_tables(against: RunComparison, summary: RunSummary) -> tuple[Table, ...]:
    """The paired differences, and the settings in which the runs differ."""
    metrics = headline_metrics(summary)
    changed = Table(
        title="Settings that differ",
        columns=("setting", "here", f"run {against.other_run}"),
        rows=tuple(
            (
                TableCell(one.name),
                TableCell(plain_value(one.here)),
                TableCell(plain_value(one.there)),
            )
            for one in against.changed
        ),
        num_remarks=2,
    )
    named = [(one.strategy, one) for one in against.differences]
    paired = paired_table(f"Difference from run {against.other_run}", named, metrics)
    return (paired, changed) if changed.rows else (paired,)


def tell_against(against: RunComparison, summary: RunSummary) -> list[str]:
    """The first headline metric in sentences."""
    over = f"Over the {against.num_periods} evaluated periods that both runs have:"
    return [over, *tell_first(summary, against.differences)]


PAGE = "report.html"
NUMBERS = "report.json"
PLOTS = "plots"


def write_report(
    data: RunData, summary: RunSummary, folder: Path, against: RunComparison | None = None
) -> tuple[Path, ...]:
    """Write `report.html`, `report.json` and `plots/*.png`, `plots/*.svg`.

    Args:
        data: the run.
        summary: of the same run.
        folder: made where absent; earlier reports in it are replaced.
        against: the run held against another one.

    Returns:
        The files written, the page first.

    Raises:
        UserError: the folder cannot be written.
    """
    sections = [] if against is None else [against_section(against, summary)]
    return write_folder(
        folder,
        render_page(data, summary, sections=sections),
        report_json(summary, against),
        lambda plots: save_plots(summary, plots),
    )


def report_json(summary: RunSummary, against: RunComparison | None = None) -> dict[str, Any]:
    """The object that `report --json` prints; `against` where another run was named."""
    numbers = summary.to_json()
    return numbers if against is None else {**numbers, "against": against.to_json()}


def write_folder(
    folder: Path,
    page: str,
    numbers: Mapping[str, Any],
    save_pictures: Callable[[Path], tuple[Path, ...]],
) -> tuple[Path, ...]:
    """Write a report of any kind.

    Args:
        folder: made where absent; earlier reports in it are replaced.
        page: as HTML.
        numbers: what `json.dumps` takes.
        save_pictures: writes pictures into the folder that it is given, and names them.

    Returns:
        The files written, the page first.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        plots = folder / PLOTS
        plots.mkdir(parents=True, exist_ok=True)
        paths = folder / PAGE, folder / NUMBERS
        paths[0].write_text(page, encoding="utf-8")
        text = json.dumps(numbers, indent=1, allow_nan=False)
        paths[1].write_text(text + "\n", encoding="utf-8")
        return (*paths, *save_pictures(plots))
    except OSError as error:
        raise UserError(
            f"{folder}: the report cannot be written ({error.strerror}); name another folder"
        ) from error
