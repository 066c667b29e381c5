"""The tables of a run for the terminal."""

from rich.table import Table as RichTable
from rich.text import Text

from perennial.replay.analysis.run import RunData
from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.run_tables import (
    fits_table,
    judged_table,
    periods_table,
    timings_table,
)
from perennial.replay.report.tables import Table, TableCell, differences_table, means_table
from perennial.storage.log.periods import PeriodSummary

_ROOMY = 110
"""Columns of a terminal from which a short detail stands beside its figure and not below it."""
_SHORT = len("± 0.0000")


def render_means(summary: RunSummary, width: int = 80) -> RichTable:
    """Means ± standard errors per model and strategy, the best of each column in bold."""
    return render_table(means_table(summary), width)


def render_differences(summary: RunSummary, width: int = 80) -> RichTable | None:
    """Gains over the baseline with their intervals; `None` with a single strategy."""
    table = differences_table(summary)
    return None if table is None else render_table(table, width)


def render_fits(data: RunData, width: int = 80) -> RichTable:
    """What the refits saw: rows, cap, chosen λ."""
    return render_table(fits_table(data), width)


def render_judged(data: RunData, width: int = 80) -> RichTable:
    """Users judged and skipped, and the share of targets out of reach."""
    return render_table(judged_table(data), width)


def render_timings(data: RunData, width: int = 80) -> RichTable:
    """Seconds by stage and peak memory."""
    return render_table(timings_table(data), width)


def render_periods(periods: tuple[PeriodSummary, ...], width: int = 80) -> RichTable:
    """The log, period by period."""
    return render_table(periods_table(periods), width)


def render_table(table: Table, width: int = 80) -> RichTable:
    """Draw a table.

    Args:
        table: what it says.
        width: columns of the terminal; in a narrow one details go on a line of their own.
    """
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note or None,
        caption_justify="left",
        caption_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for number, column in enumerate(table.columns):
        drawn.add_column(
            Text(column),
            justify="right" if table.is_number(number) else "left",
            no_wrap=(number < table.num_labels) is not table.long_labels,
            overflow="ellipsis",
        )
    longest = max((len(entry.detail) for row in table.rows for entry in row), default=0)
    separator = " " if width >= _ROOMY and longest <= _SHORT else "\n"
    for row in table.rows:
        drawn.add_row(*(_draw(entry, separator) for entry in row))
    return drawn


def _draw(entry: TableCell, separator: str) -> Text:
    """An entry; its text is never read as markup."""
    text = Text(entry.text, style="bold" if entry.best else "")
    if entry.detail:
        text.append(separator, style="not bold")
        text.append(entry.detail, style="not bold dim")
    return text
