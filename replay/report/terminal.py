"""Tables of a run, drawn for the terminal."""

from rich.table import Table as RichTable
from rich.text import Text

from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.run_tables import periods_table
from perennial.replay.report.tables import Table, TableCell, differences_table, means_table
from perennial.storage.log.periods import PeriodSummary

_WIDE = 110
"""Columns of a terminal from which short details come next to their figure, not below it."""
_MAX_SHORT_DETAIL = len("± 0.0000")


def render_means(summary: RunSummary, width: int = 80) -> RichTable:
    """Draw means ± standard errors per model and strategy, the best of each column in bold."""
    return render_table(means_table(summary), width)


def render_differences(summary: RunSummary, width: int = 80) -> RichTable | None:
    """Draw differences from the baseline with their intervals; `None` with a single strategy."""
    table = differences_table(summary)
    return None if table is None else render_table(table, width)


def render_periods(periods: tuple[PeriodSummary, ...], width: int = 80) -> RichTable:
    """Draw the log, period by period."""
    return render_table(periods_table(periods), width)


def render_table(table: Table, width: int = 80) -> RichTable:
    """Draw a table; in a narrow terminal (of `width` columns) details go on a line of their own."""
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
    longest = max((len(cell.detail) for row in table.rows for cell in row), default=0)
    separator = " " if width >= _WIDE and longest <= _MAX_SHORT_DETAIL else "\n"
    for row in table.rows:
        drawn.add_row(*(_draw_cell(cell, separator) for cell in row))
    return drawn


def _draw_cell(cell: TableCell, separator: str) -> Text:
    """Draw a cell; its text is never interpreted as markup."""
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.detail:
        text.append(separator, style="not bold")
        text.append(cell.detail, style="not bold dim")
    return text
