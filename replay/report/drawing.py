"""Tables as values, and their drawing on a terminal; needs no arrays."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from perennial.storage.base import escape_controls

_WIDE = 110
"""Columns of a terminal from which short details come next to their figure, not below it."""
_FEWEST_OF_REMARK = 10
"""Columns of the terminal that a column of remarks has at least."""
_MAX_UNIT = len("1.2 GiB")
_MAX_SHORT_DETAIL = len("± 0.0000")


_PARTS = re.compile("\n|[^\n]*[^ \n]| +")
"""Line ends, text, and the blanks after it."""


class TerminalConsole(Console):
    """Console that makes control characters visible, and leaves out blanks at the ends of lines."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render text, tables and bars; line ends stay."""
        blanks: list[Segment] = []
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            for text in _PARTS.findall(escape_controls(segment.text, keep="\n")):
                if text.isspace() and text != "\n":
                    blanks.append(Segment(text, segment.style))
                    continue
                if text != "\n":
                    yield from blanks
                blanks.clear()
                yield Segment(text, segment.style)


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
    """Draw a table for a terminal of `width` columns.

    In a narrow one details go on a line of their own, gaps are narrower, and text is wrapped;
    headers and numbers are never cut.
    """
    longest = max((len(cell.detail) for row in table.rows for cell in row), default=0)
    separator = " " if width >= _WIDE and longest <= _MAX_SHORT_DETAIL else "\n"
    rows = [[_draw_cell(cell, separator) for cell in row] for row in table.rows]
    texts = list(zip(table.columns, *([cell.plain for cell in row] for row in rows), strict=True))
    gap, widths = _share_width(table, texts, width)
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note or None,
        caption_justify="left",
        caption_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        header_style="dim",
    )
    for number, column in enumerate(table.columns):
        justify: JustifyMethod = "right" if table.is_number(number) else "left"
        drawn.add_column(Text(column), justify=justify, overflow="fold", width=widths[number])
    for row in rows:
        drawn.add_row(*row)
    return drawn


def print_table(table: Table, console: Console) -> None:
    """Print a table as wide as the console."""
    console.print(render_table(table, console.width))


def _share_width(
    table: Table, texts: Sequence[tuple[str, ...]], width: int
) -> tuple[int, list[int]]:
    """Return the gap between columns, and the width of each, of the texts of the columns."""
    wanted = [max(cell_len(line) for text in one for line in text.splitlines()) for one in texts]
    least = [max(map(_longest_word, one)) for one in texts]
    for number in range(len(texts)):
        if number < table.num_labels and not table.long_labels:
            least[number] = wanted[number]
        elif number >= len(texts) - table.num_remarks:
            least[number] = min(least[number], _FEWEST_OF_REMARK)
    unbroken = wanted[: len(texts) - table.num_remarks] + least[len(texts) - table.num_remarks :]
    gap = 2 if sum(unbroken) + 2 * len(texts) <= width else 1
    spare = width - sum(least) - gap * len(least)
    for _ in range(-spare):
        widest = max(range(table.num_labels), key=least.__getitem__)
        least[widest] = max(1, least[widest] - 1)
    for _ in range(spare):
        short = [number for number, one in enumerate(least) if one < wanted[number]]
        if short:
            least[min(short, key=least.__getitem__)] += 1
    return gap, least


def _longest_word(text: str) -> int:
    """Return the width of the longest part of a text that is not wrapped, such as `2.6 s`."""
    words = (line.split() if len(line) > _MAX_UNIT else [line] for line in text.splitlines())
    return max((cell_len(word) for line in words for word in line), default=0)


def _draw_cell(cell: TableCell, separator: str) -> Text:
    """Draw a cell; its text is never interpreted as markup."""
    text = Text(escape_controls(cell.text), style="bold" if cell.best else "")
    if cell.detail:
        text.append(separator, style="not bold")
        text.append(cell.detail, style="not bold dim")
    return text
