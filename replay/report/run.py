"""Report of a run: files in a folder, and the comparison with another run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perennial.replay.analysis.run import RunData
from perennial.replay.analysis.run_comparison import RunComparison
from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.drawing import Table, make_row
from perennial.replay.report.run_tables import plain_value
from perennial.replay.report.tables import describe_differences, headline_metrics, paired_table
from perennial.storage.errors import UserError

PAGE = "report.html"
NUMBERS = "report.json"
PLOTS = "plots"


def write_report(
    data: RunData, summary: RunSummary, folder: Path, comparison: RunComparison | None = None
) -> tuple[Path, ...]:
    """Write `report.html`, `report.json` and `plots/*.png`, `plots/*.svg`; see `write_folder`."""
    # matplotlib and jinja2 take half a second to import: only when a report is written.
    from perennial.replay.report.lines import save_plots
    from perennial.replay.report.page import Section, render_page

    sections = []
    if comparison is not None:
        note = " ".join(describe_comparison(comparison, summary))
        tables = comparison_tables(comparison, summary)
        sections.append(Section(f"Compared with run {comparison.other_run}", note, tables))
    return write_folder(
        folder,
        render_page(data, summary, sections=sections),
        report_json(summary, comparison),
        lambda plots: save_plots(summary, plots),
    )


def report_json(summary: RunSummary, comparison: RunComparison | None = None) -> dict[str, Any]:
    """Return the object that `report --json` prints, with a comparison if there is one."""
    numbers = summary.to_json()
    return numbers if comparison is None else {**numbers, "against": asdict(comparison)}


def comparison_tables(comparison: RunComparison, summary: RunSummary) -> tuple[Table, ...]:
    """Return the paired differences, and the settings in which the runs differ."""
    other = f"run {comparison.other_run}"
    changed = Table(
        title="Different settings",
        columns=("setting", "here", other),
        rows=tuple(
            make_row(one.name, plain_value(one.here), plain_value(one.there))
            for one in comparison.changed
        ),
        num_remarks=2,
    )
    named = [(one.strategy, one) for one in comparison.differences]
    paired = paired_table(f"Difference from {other}", named, headline_metrics(summary))
    return (paired, changed) if changed.rows else (paired,)


def describe_comparison(comparison: RunComparison, summary: RunSummary) -> list[str]:
    """Return sentences on the first headline metric."""
    over = f"Over the {comparison.num_periods} evaluated periods that both runs have:"
    return [over, *describe_differences(summary, comparison.differences)]


def write_folder(
    folder: Path,
    page: str,
    numbers: Mapping[str, Any],
    save_pictures: Callable[[Path], tuple[Path, ...]],
) -> tuple[Path, ...]:
    """Write a report of any kind into a folder, and return the files, the page first.

    Earlier reports in it are replaced. `save_pictures` writes the pictures into a folder and
    returns their paths. A folder that cannot be written is a `UserError`.
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
