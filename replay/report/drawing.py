"""Tables as values, and their drawing on a terminal; needs no arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from perennial.storage.base import escape_controls

_WIDE = 110
"""Columns of a terminal from which short details come next to their figure, not below it."""
_MAX_SHORT_DETAIL = len("± 0.0000")


class TerminalConsole(Console):
    """Console that makes control characters in all text visible, on a terminal and in a pipe."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render text, tables and bars; line ends stay."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(escape_controls(segment.text, keep="\n"), segment.style)


@dataclass(frozen=True)
class TableCell:
    """One cell of a table; `detail` is secondary text after it, such as a standard error."""

    text: str
    detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        num_labels: number of leading text columns; the columns after them are numbers.
        num_remarks: number of trailing text columns, whose text may be long.
        long_labels: whether labels, not numbers, are wrapped on a narrow terminal.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    num_labels: int = 1
    num_remarks: int = 0
    note: str = ""
    long_labels: bool = False

    def is_number(self, column: int) -> bool:
        """Return whether a column, counted from 0, contains numbers."""
        return self.num_labels <= column < len(self.columns) - self.num_remarks


def make_row(*entries: str | TableCell) -> tuple[TableCell, ...]:
    """Return the cells of a row of texts and cells."""
    return tuple(TableCell(one) if isinstance(one, str) else one for one in entries)


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
    text = Text(escape_controls(cell.text), style="bold" if cell.best else "")
    if cell.detail:
        text.append(separator, style="not bold")
        text.append(cell.detail, style="not bold dim")
    return text
