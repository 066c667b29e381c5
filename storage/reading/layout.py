"""The columns of a log file, and its interpretation for its owner to check."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, Columns, find_column, printable
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.rejects import Rejects
from perennial.storage.reading.settings import TIME_NAMES, FileSettings
from perennial.storage.reading.times.formats import is_moment

_SEPARATORS = {
    ",": "commas",
    "\t": "tabs",
    ";": "semicolons",
    "|": "vertical bars",
    "::": "double colons",
    " ": "blanks",
}

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_OFFSET_BYTES = 4


@dataclass(frozen=True)
class FileLayout:
    """Interpretation of a file.

    Attributes:
        user: user column: its name, or "column 1" for the first of a file without names.
        item: item column, as for users.
        time: time column, as for users; `None` if the file has no times.
        header: True if the first line names the columns; `None` for a format without lines.
        header_guessed: True if `header` was guessed from the first lines.
        rows: number of lines or rows read, bad ones included.
        filtered: number of rows that do not count.
        rating: rating column that decides which rows count; `None` if none does.
    """

    format: str
    user: str
    item: str
    time: str | None
    header: bool | None = None
    header_guessed: bool = False
    separator: str | None = None
    encoding: str | None = None
    rows: int = 0
    filtered: int = 0
    rating: str | None = None
    min_rating: float | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def describe(self) -> str:
        """Describe the interpretation in one line."""
        time = "no time (line order)"
        if self.time is not None:
            time = f"time = {self.time} (not line order)"
        return (
            f"{self.describe_form()}; user = {self.user}, item = {self.item}, {time}; "
            f"{self.rows:,} rows{self._describe_filtered()}"
        )

    def describe_form(self) -> str:
        """Describe format, header, separator and encoding."""
        parts = [self.format]
        if self.header is not None:
            guessed = " (guessed)" if self.header_guessed else ""
            parts.append(("header" if self.header else "no header") + guessed)
        if self.separator is not None:
            parts.append(_SEPARATORS.get(self.separator, repr(self.separator)))
        if self.encoding is not None:
            parts.append(self.encoding)
        return f"read as {', '.join(parts)}"

    def _describe_filtered(self) -> str:
        conditions = [
            f"{printable(column, 40)} = {' or '.join(printable(value, 40) for value in values)}"
            for column, values in self.where
        ]
        if self.min_rating is not None:
            conditions.insert(0, f"{self.rating} ≥ {self.min_rating:g}")
        if not conditions:
            return ""
        return f", {self.filtered:,} of which do not count (only {' and '.join(conditions)} does)"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return asdict(self) | {"where": dict(self.where)}


@dataclass(frozen=True)
class RawFile:
    """The columns of a file, with its own types.

    Attributes:
        users: `(n,)` identifiers.
        items: `(n,)` identifiers.
        times: `(n,)`, or `None` if the file has no times.
        lines: `(n,)` int64, line of each row, from 1; `None` if row k is line k + 1.
        rejects: lines that are no rows.
        num_lines: number of lines read, rejected ones included.
        typed: True if the column of the users has a type of the file, which text has not; and for
            the items.
        layout: interpretation of the file.
        remarks: what its owner should know of that, one line each.
        rating: `(n,)` ratings, if `IngestSettings.min_rating` is set.
        where: `(n,)` values for each condition of `IngestSettings.where`.
        uncounted: values of the columns of the conditions, if no row counts.
    """

    users: Column
    items: Column
    times: Column | None
    lines: NDArray[np.int64] | None
    rejects: Rejects
    num_lines: int
    typed: tuple[bool, bool]
    layout: FileLayout
    remarks: tuple[str, ...] = ()
    rating: Column | None = None
    where: tuple[Column, ...] = ()
    uncounted: str = ""

    def line_numbers(self) -> NDArray[np.int64]:
        """Return the line of each row, `(n,)` int64."""
        return np.arange(1, len(self.users) + 1) if self.lines is None else self.lines

    def order(self) -> NDArray[np.int64]:
        """Return the place of each row, `(n,)` int64: its line, unless others are on it."""
        lines = self.line_numbers()
        return lines if np.diff(lines).all() else np.arange(1, len(lines) + 1)


def make_raw_file(
    file_format: str,
    names: Sequence[str],
    found: Columns,
    columns: Sequence[Column],
    hint: str | None,
    lines: NDArray[np.int64] | None,
    rejects: Rejects,
    settings: FileSettings,
    budget: Budget,
    *,
    typed: bool = False,
    header: bool | None = None,
    header_guessed: bool = False,
    separator: str | None = None,
    encoding: str | None = None,
) -> RawFile:
    """Return what a reader read, with its interpretation and remarks.

    `names` are those of all columns of the file, and `columns` `(n,)` each those of `found.inside`;
    other columns are folders' values in the settings. `hint` is the name of a column that seems to
    hold the times, if no time column was found, and `typed` true if the columns of the file have
    types. All else is as in `RawFile` and `FileLayout`.
    """
    own, num_rows = iter(columns), len(columns[0])
    values = list(settings.partitions.values())
    users, items, times, rating, where = found.split(
        [
            next(own) if place >= 0 else _repeat(values[-1 - place], num_rows, budget)
            for place in found.places
        ]
    )
    num_lines = num_rows + len(rejects)
    keys = list(settings.partitions)
    labels = [*names, *reversed(keys)]
    if hint is None:
        place = find_column(keys, None, TIME_NAMES, "time")
        dated = (key for key, value in settings.partitions.items() if is_moment(value))
        hint = next(dated, None) if place is None else keys[place]
    shown = [printable(labels[place], 40) for place in found.events]
    layout = FileLayout(
        file_format,
        user=shown[0],
        item=shown[1],
        time=None if found.time is None else shown[2],
        header=header,
        header_guessed=header_guessed,
        separator=separator,
        encoding=encoding,
        rows=num_lines,
        rating=None if found.rating is None else printable(labels[found.rating], 40),
    )
    return RawFile(
        users,
        items,
        times,
        lines,
        rejects,
        num_lines,
        typed=(typed and found.user >= 0, typed and found.item >= 0),
        layout=layout,
        remarks=_describe_guesses(names, found, hint) if settings.is_log else (),
        rating=rating,
        where=where,
    )


def _repeat(value: str, size: int, budget: Budget) -> pa.ChunkedArray:
    """Return a column of one value, `(size,)`; nulls for Hive's name of a missing one."""
    budget.take(size * (len(value.encode()) + _OFFSET_BYTES))
    values = pa.array([None if value == _HIVE_NULL else value], pa.string())
    return pa.chunked_array([values.take(pa.array(np.zeros(size, np.int32)))])


def label_column(name: str) -> str:
    """Return a column as messages call it: "column 'stars'", or "column 3" without a name."""
    return name if re.fullmatch(r"column \d+", name) else f"column '{printable(name, 40)}'"


@contextmanager
def name_column(name: str) -> Iterator[None]:
    """Begin the message of each `UserError` with the column."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{label_column(name)}: {error}") from None


def _describe_guesses(names: Sequence[str], found: Columns, hint: str | None) -> tuple[str, ...]:
    """Describe what takes the place of times, and ratings that decide nothing."""
    order = () if found.time is not None else (_describe_order(hint),)
    if found.ignored is None:
        return order
    return (
        *order,
        f"{label_column(names[found.ignored])} is ignored, so that every row counts; "
        "--min-rating 4 keeps the rows with at least 4",
    )


def _describe_order(hint: str | None) -> str:
    """Describe what takes the place of times, and the column that may hold them."""
    words = "no time column found, so the order of the lines is the order of time"
    if hint is None:
        return f"{words}; name one with --time-column"
    return f"{words}; does {label_column(hint)} hold the times? name it with --time-column"
