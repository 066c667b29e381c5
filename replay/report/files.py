"""The report of a run as files in a folder."""

import json
from pathlib import Path

from replay.report.page import render_page
from replay.report.plots import save_plots
from replay.summary import RunData, Summary
from storage.errors import UserError

PAGE = "report.html"
NUMBERS = "report.json"
PLOTS = "plots"


def write_report(data: RunData, summary: Summary, folder: Path) -> tuple[Path, ...]:
    """Write `report.html`, `report.json` and `plots/*.png`, `plots/*.svg`.

    Args:
        data: the run.
        summary: of the same run.
        folder: made where absent; earlier reports in it are replaced.

    Returns:
        The files written, the page first.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        plots = folder / PLOTS
        plots.mkdir(parents=True, exist_ok=True)
        page, numbers = folder / PAGE, folder / NUMBERS
        page.write_text(render_page(data, summary), encoding="utf-8")
        text = json.dumps(summary.to_json(), indent=1, allow_nan=False)
        numbers.write_text(text + "\n", encoding="utf-8")
        return (page, numbers, *save_plots(summary, plots))
    except OSError as error:
        raise UserError(
            f"{folder}: the report cannot be written ({error.strerror}); name another folder"
        ) from error
