"""Delimited text (RFC 4180), read block by block, with the line of every row, good or bad.

DuckDB and Arrow parse well, but neither gives the line of a row that is parsed and rejected later.
So a scan finds the records and removes the bad ones, and Arrow parses the others. A record is a
line, or several if quotes enclose the newlines between them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from perennial.storage.reading.delimited_text.encodings import ByteStream
from perennial.storage.reading.delimited_text.records import (
    BOM,
    NEWLINE,
    QUOTE,
    RETURN,
    SPACE,
    TAB,
    Quoting,
    Records,
    find_enclosed,
    read_records,
)
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.rejects import Fault, Rejects

BLOCK_BYTES = 1 << 24
# The byte that replaces a delimiter of two bytes while a block is parsed (unit separator).
_STAND_IN = b"\x1f"


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quoting and width of a text file.

    Attributes:
        delimiter: one byte or more; a space means any run of spaces and tabs.
        num_columns: number of fields of every good line.
        quoting: True if '"' encloses values, and is doubled inside a value.
        skip_lines: number of lines before the first row.
        spaced: True if blanks after a delimiter do not belong to the value.
    """

    delimiter: bytes
    num_columns: int
    quoting: bool
    skip_lines: int
    spaced: bool = False

    @property
    def quotes(self) -> Quoting | None:
        """Rules of quotes; `None` if a quote is a sign like any other."""
        return Quoting(self.delimiter[0], self.spaced) if self.quoting else None


@dataclass(frozen=True)
class TextRows:
    """The rows of a text file.

    Attributes:
        columns: one `(n,)` string column per requested position.
        lines: `(n,)` int64, first line of each row, from 1.
        rejects: records that are no rows.
        num_lines: number of records, bad ones included; blank lines and headers do not count.
        suspect: first line of the first record that looks like several; `None` if none does.
    """

    columns: tuple[pa.ChunkedArray, ...]
    lines: NDArray[np.int64]
    rejects: Rejects
    num_lines: int
    suspect: int | None = None


def read_text(
    stream: ByteStream,
    dialect: Dialect,
    wanted: tuple[int, ...],
    after_block: Callable[[], None] = lambda: None,
    block_bytes: int = BLOCK_BYTES,
    budget: Budget | None = None,
) -> TextRows:
    """Read some columns of a text file; memory is O(values of these + one block).

    `stream` is of decompressed bytes, `wanted` the positions of the columns, from 0. `after_block`
    is called after each block. Without a budget for rows and bad lines there is no limit.

    Raises:
        UserError: a line is longer than a block, or the budget is used up.
    """
    chunks: list[list[pa.Array]] = [[] for _ in wanted]
    lines, rejects, suspects = [], [], list[int]()
    first_line = 1
    for block, records in read_records(stream, block_bytes, dialect.quotes):
        columns, numbers, bad = _read_block(block, records, dialect, wanted, first_line)
        if dialect.quoting and len(dialect.delimiter) == 1 and not suspects:
            suspects = [first_line + one for one in _find_suspects(records, dialect)[:1]]
        first_line += block.count(b"\n")
        lines.append(numbers)
        rejects.append(bad)
        for chunk, column in zip(chunks, columns, strict=True):
            chunk.extend(column.chunks)
        if budget is not None:
            kept = (*columns, numbers, bad.lines, bad.faults)
            budget.take(sum(part.nbytes for part in kept))
        after_block()
    all_lines = np.concatenate([np.zeros(0, np.int64), *lines])
    all_rejects = Rejects.join(rejects)
    return TextRows(
        tuple(pa.chunked_array(chunk, pa.string()) for chunk in chunks),
        all_lines,
        all_rejects,
        len(all_lines) + len(all_rejects),
        next(iter(suspects), None),
    )


def _find_suspects(records: Records, dialect: Dialect) -> list[int]:
    """Find records whose every line has the separators of a row; return lines before each."""
    newlines = np.flatnonzero(records.data == NEWLINE)
    if len(newlines) == len(records.ends) or dialect.num_columns == 1:
        return []
    separators = np.flatnonzero(records.data == dialect.delimiter[0])
    counts = np.diff(np.searchsorted(separators, newlines), prepend=0)
    first = np.searchsorted(newlines, records.starts)
    is_full = np.logical_and.reduceat(counts == dialect.num_columns - 1, first)
    suspects: list[int] = first[is_full & (np.diff(first, append=len(newlines)) > 1)].tolist()
    return suspects


def _read_block(
    block: bytes, lines: Records, dialect: Dialect, wanted: tuple[int, ...], first_line: int
) -> tuple[list[pa.ChunkedArray], NDArray[np.int64], Rejects]:
    delimiter = dialect.delimiter if len(dialect.delimiter) == 1 else _STAND_IN
    data = lines.data
    newlines = np.flatnonzero(data == NEWLINE) if dialect.quoting else lines.ends
    faults = np.zeros(len(lines.ends), np.uint8)
    numbers = first_line + np.searchsorted(newlines, lines.starts)
    _mark_bad_utf8(block, lines.ends, faults)
    if len(dialect.delimiter) > 1:
        _mark_lines_with(delimiter[0], block, faults)
        data = np.frombuffer(block.replace(dialect.delimiter, delimiter), np.uint8)
    if delimiter == b" ":
        data = _squeeze_blanks(data)
    elif dialect.spaced:
        data = _drop_blanks(lines, delimiter[0], quoting=dialect.quoting)
    if data is not lines.data:
        lines = Records.find(data, dialect.quotes)
    _mark_bad_shape(lines, delimiter[0], dialect, faults)
    lengths = lines.ends - lines.starts
    blank = (lengths == 0) | ((lengths == 1) & (data[lines.starts] == RETURN))
    row = ~blank & (numbers > dialect.skip_lines)
    good = row & (faults == Fault.NONE)
    bad = row & ~good
    columns = _parse(lines.select(good), int(good.sum()), delimiter, dialect, wanted)
    return columns, numbers[good], Rejects(numbers[bad], faults[bad])


def _parse(
    data: NDArray[np.uint8],
    num_rows: int,
    delimiter: bytes,
    dialect: Dialect,
    wanted: tuple[int, ...],
) -> list[pa.ChunkedArray]:
    if not num_rows:
        return [pa.chunked_array([], pa.string()) for _ in wanted]
    names = [str(place) for place in range(dialect.num_columns)]
    if data[: len(BOM)].tobytes() == BOM:
        # Arrow drops a byte order mark at the beginning; here it is part of an identifier.
        data = np.concatenate([np.frombuffer(BOM, np.uint8), data])
    table = pa.csv.read_csv(
        pa.py_buffer(data),
        read_options=pa.csv.ReadOptions(column_names=names, block_size=len(data) + 1),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter.decode(),
            quote_char='"' if dialect.quoting else False,
            newlines_in_values=dialect.quoting,
        ),
        convert_options=pa.csv.ConvertOptions(
            include_columns=[names[place] for place in wanted],
            column_types={name: pa.string() for name in names},
            strings_can_be_null=False,
        ),
    )
    if table.num_rows != num_rows:
        raise RuntimeError("the parser and the line scan disagree on the rows of a block")
    return list(table.columns)


def _mark_lines_with(stand_in: int, block: bytes, faults: NDArray[np.uint8]) -> None:
    """Mark the lines that hold the byte that is to replace their delimiter."""
    if stand_in in block:
        data = np.frombuffer(block, np.uint8)
        line = np.searchsorted(np.flatnonzero(data == NEWLINE), np.flatnonzero(data == stand_in))
        faults[line[faults[line] == Fault.NONE]] = Fault.WRONG_COLUMNS


def _mark_bad_utf8(block: bytes, ends: NDArray[np.int64], faults: NDArray[np.uint8]) -> None:
    """Mark the records that are not UTF-8."""
    try:
        block.decode()
    except UnicodeDecodeError:
        bad = np.flatnonzero(find_bad_utf8(np.frombuffer(block, np.uint8)))
        faults[np.searchsorted(ends, bad)] = Fault.BAD_UTF8


def find_bad_utf8(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find bytes that UTF-8 (RFC 3629, section 4) does not allow: `(n,)` uint8 -> `(n,)` bool.

    Python's decoder finds only the first, and a file in another encoding has one in every line.
    """
    padded = np.concatenate([np.zeros(3, np.uint8), data])
    before = [padded[3 - back : len(padded) - back] for back in range(4)]
    continues = (data & 0xC0) == 0x80
    expected = (before[1] >= 0xC2) & (before[1] <= 0xF4)
    # After an incomplete sequence nothing more is expected: the next line may be good.
    continued = (before[1] & 0xC0) == 0x80
    expected |= (before[2] >= 0xE0) & (before[2] <= 0xF4) & continued
    continued &= (before[2] & 0xC0) == 0x80
    expected |= (before[3] >= 0xF0) & (before[3] <= 0xF4) & continued
    bad: NDArray[np.bool_] = (continues != expected) | np.isin(data, (0xC0, 0xC1)) | (data > 0xF4)
    # Second bytes of overlong forms, surrogates and numbers above U+10FFFF.
    bad |= (before[1] == 0xE0) & (data < 0xA0)
    bad |= (before[1] == 0xED) & (data > 0x9F)
    bad |= (before[1] == 0xF0) & (data < 0x90)
    bad |= (before[1] == 0xF4) & (data > 0x8F)
    return bad


def _squeeze_blanks(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace every run of spaces and tabs by one space; drop those at both ends of lines."""
    blank = (data == SPACE) | (data == TAB)
    needless = np.concatenate([[True], blank[:-1] | (data[:-1] == NEWLINE)])
    squeezed = np.where(blank, np.uint8(SPACE), data)[~(blank & needless)]
    ends_line = np.isin(np.append(squeezed[1:], np.uint8(NEWLINE)), (NEWLINE, RETURN))
    kept: NDArray[np.uint8] = squeezed[(squeezed != SPACE) | ~ends_line]
    return kept


def _drop_blanks(lines: Records, delimiter: int, *, quoting: bool) -> NDArray[np.uint8]:
    """Drop blanks between a delimiter and the value after it, except inside quotes."""
    data = lines.data
    quotes = np.flatnonzero(data == QUOTE) if quoting else np.zeros(0, np.int64)
    enclosed = find_enclosed(lines, quotes)
    blank = (data == SPACE) & ~enclosed
    starts = (data == delimiter) & ~enclosed
    starts[lines.ends] = True
    # The last sign before each position that is no blank decides.
    last = np.maximum.accumulate(np.where(blank, -1, np.arange(len(data))))
    needless = blank & ((last < 0) | starts[last])
    kept: NDArray[np.uint8] = data[~needless]
    return kept


def _mark_bad_shape(
    lines: Records, delimiter: int, dialect: Dialect, faults: NDArray[np.uint8]
) -> None:
    """Mark lines with misplaced quotes or returns, and those with too few or too many fields."""
    separates = lines.data == delimiter
    returns = np.flatnonzero(lines.data == RETURN)
    returns = returns[lines.data[returns + 1] != NEWLINE]
    if dialect.quoting and (quotes := np.flatnonzero(lines.data == QUOTE)).size:
        bad = _find_bad_quotes(lines, quotes, delimiter)
        faults[bad & (faults == Fault.NONE)] = Fault.BAD_QUOTES
        enclosed = find_enclosed(lines, quotes)
        separates &= ~enclosed
        returns = returns[~enclosed[returns]]
    # For the parser a carriage return ends a line, unless quotes enclose it.
    broken = np.searchsorted(lines.ends, returns)
    faults[broken[faults[broken] == Fault.NONE]] = Fault.BAD_RETURN
    separates[lines.ends] = True
    ends_of_lines = np.flatnonzero(lines.data[np.flatnonzero(separates)] == NEWLINE)
    fields = np.diff(ends_of_lines, prepend=-1)
    faults[(fields != dialect.num_columns) & (faults == Fault.NONE)] = Fault.WRONG_COLUMNS


def _find_bad_quotes(
    lines: Records, quotes: NDArray[np.int64], delimiter: int
) -> NDArray[np.bool_]:
    """Find lines with an odd number of quotes, or with a quote inside an unquoted value."""
    line = np.searchsorted(lines.ends, quotes)
    first_of_line = np.searchsorted(quotes, lines.starts)
    opening = (np.arange(len(quotes)) - first_of_line[line]) % 2 == 0
    before = np.where(quotes == lines.starts[line], NEWLINE, lines.data[quotes - 1])
    after = lines.data[quotes + 1]
    well_placed = np.where(
        opening,
        np.isin(before, (NEWLINE, delimiter, QUOTE)),
        np.isin(after, (NEWLINE, RETURN, delimiter, QUOTE)),
    )
    bad: NDArray[np.bool_] = np.bincount(line, minlength=len(lines.ends)) % 2 == 1
    bad[line[~well_placed]] = True
    return bad
