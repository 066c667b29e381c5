"""Reader of the files of the Netflix prize: blocks of an item, `1:`, and its ratings."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import find_columns
from perennial.storage.reading.delimited_text.encodings import ByteStream, unpacked
from perennial.storage.reading.delimited_text.parsing import BLOCK_BYTES, Dialect, read_text
from perennial.storage.reading.delimited_text.records import BOM
from perennial.storage.reading.layout import RawFile, make_raw_file
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.rejects import Rejects
from perennial.storage.reading.settings import FileSettings

_HEAD_BYTES = 1 << 12
_FIRST_LINE = re.compile(rb"\s*\d+:[ \t]*\r?\n")
# A line without a comma begins a block, also if its item cannot be read: the ratings after it
# must not become those of the item before it.
_BLOCK_LINE = re.compile(rb"^[^,\n]*[^,\s][^,\n]*$", re.MULTILINE)
_ITEM = re.compile(rb"\s*(\d{1,20}):\s*")
# By the number of values in a line: those of `qualifying.txt` are of users and dates.
_NAMES = {3: ("user", "rating", "date"), 2: ("user", "date")}
_ITEM_NAME = "item"
# A short text and its line.
_BYTES_OF_BLOCK = 72


def is_netflix(head: bytes) -> bool:
    """Return True if a file begins with a block of the Netflix prize."""
    return _FIRST_LINE.match(head.removeprefix(BOM)) is not None


def read_netflix(path: Path, settings: FileSettings, progress: Progress, budget: Budget) -> RawFile:
    """Read a log as a `Reader`: lines `user,rating,date` after a line with the item and a colon.

    The columns are named `item`, `user`, `rating` and `date`.
    """
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        head = stream.read(_HEAD_BYTES)
    values = _read_names(head)
    names = [_ITEM_NAME, *values]
    found = find_columns(names, settings)
    places = found.inside
    dialect = Dialect(b",", len(values), quoting=False, skip_lines=0)
    with path.open("rb") as packed, unpacked(packed) as stream:
        blocks = _BlockStream(stream, budget)
        rows = read_text(
            blocks,
            dialect,
            tuple(place - 1 for place in places if place),
            lambda: progress(f"reading {path.name}", packed.tell(), size),
            BLOCK_BYTES,
            budget,
        )
    budget.take(4 * len(rows.lines))
    items = _find_items(blocks, rows.lines)
    others = iter(rows.columns)
    columns = [next(others) if place else items for place in places]
    is_block = np.isin(rows.rejects.lines, blocks.lines[np.array(blocks.items) != ""])
    rejects = Rejects(rows.rejects.lines[~is_block], rows.rejects.faults[~is_block])
    return make_raw_file(
        "Netflix blocks",
        names,
        found,
        columns,
        None,
        rows.lines,
        rejects,
        settings,
        budget,
        separator=",",
        encoding="UTF-8",
    )


def _read_names(head: bytes) -> tuple[str, ...]:
    """Return the names of the values in a line; raise `UserError` if no block begins the file."""
    first = _FIRST_LINE.match(head.removeprefix(BOM))
    if first is not None:
        line = head.removeprefix(BOM)[first.end() :].split(b"\n")[0]
        names = _NAMES.get(line.count(b",") + 1)
        if names is not None:
            return names
    raise UserError(
        "not a file of the Netflix prize: its first line is an item and a colon, such as 1:, and "
        "the next one a user, a rating and a date"
    )


class _BlockStream:
    """A stream that records items and lines which begin blocks, while it is read."""

    def __init__(self, stream: ByteStream, budget: Budget) -> None:
        self._stream, self._budget = stream, budget
        self._rest = b""
        self._next_line = 1
        self._parts: list[NDArray[np.int64]] = []
        self.items: list[str] = []

    @property
    def lines(self) -> NDArray[np.int64]:
        """Number of the line that begins each block, `(b,)` int64."""
        return np.concatenate([np.zeros(0, np.int64), *self._parts])

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        data = self._stream.read(size)
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if not data:
            whole, newline, self._rest = self._rest, b"\n", b""
        self._record(whole + newline)
        return data

    def _record(self, text: bytes) -> None:
        data = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        starts = []
        for match in _BLOCK_LINE.finditer(text):
            starts.append(match.start())
            item = _ITEM.fullmatch(match[0].removeprefix(BOM))
            self.items.append(item[1].decode() if item else "")
        self._parts.append(self._next_line + np.searchsorted(ends, np.array(starts, np.int64)))
        self._next_line += len(ends)
        self._budget.take(_BYTES_OF_BLOCK * len(starts))


def _find_items(blocks: _BlockStream, lines: NDArray[np.int64]) -> pa.ChunkedArray:
    """Return the item of each row from its line: `(n,)` int64 -> `(n,)` dictionaries of texts."""
    codes = (np.searchsorted(blocks.lines, lines) - 1).astype(np.int32)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(codes, pa.array(blocks.items))])
