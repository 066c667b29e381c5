"""Log files of all formats, read into the same columns."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, ColumnChoice, printable
from perennial.storage.reading.dialects import HEAD_BYTES, detect_dialect
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.parquet import read_columns
from perennial.storage.reading.rejects import Rejects
from perennial.storage.reading.text import read_text

FORMATS = ("parquet", "csv", "tsv", "dat", "inter", "ader")
_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".data": "tsv", ".dat": "dat", ".inter": "inter", ".txt": "ader",
}  # fmt: skip
_GZIP = b"\x1f\x8b"
_ERRORS = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException, UnicodeDecodeError)


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
        typed: True if the columns have types of the file; text has none.
    """

    users: Column
    items: Column
    times: Column | None
    lines: NDArray[np.int64] | None
    rejects: Rejects
    num_lines: int
    typed: bool

    def line_numbers(self) -> NDArray[np.int64]:
        """Return the line of each row, `(n,)` int64."""
        return np.arange(1, len(self.users) + 1) if self.lines is None else self.lines


def read_file(
    path: Path, choice: ColumnChoice, file_format: str | None, progress: Progress = ignore_progress
) -> RawFile:
    """Read a log file.

    Args:
        path: the file.
        choice: column names that the user gave.
        file_format: one of `FORMATS`; `None` guesses from the file's name.
        progress: called with the bytes of a text file read so far.

    Raises:
        UserError: the file cannot be read or takes too much memory, or its columns cannot be found.
    """
    with readable_errors(path):
        budget, chosen = Budget(), _choose_format(path, file_format)
        if chosen == "parquet":
            return _read_parquet(path, choice, budget)
        return _read_text(path, choice, chosen, progress, budget)


def read_times(path: Path, choice: ColumnChoice, file_format: str | None) -> Column | None:
    """Read only the time column of a log file; `None` if it has none; arguments as for `read_file`.

    Raises:
        UserError: as of `read_file`.
    """
    with readable_errors(path):
        budget, chosen = Budget(), _choose_format(path, file_format)
        if chosen == "parquet":
            columns, _ = read_columns(path, choice, budget, first=2)
            return columns[0] if columns else None
        return _read_text(path, choice, chosen, ignore_progress, budget).times


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn every error that reading a file may raise into a `UserError` of one line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except MemoryError as error:
        raise UserError(f"{path}: reading it takes more memory than there is; split it") from error
    except _ERRORS as error:
        words = printable(" ".join(str(error).split()), 200)
        raise UserError(f"{path}: cannot be read ({words}); check the file") from error


def _choose_format(path: Path, file_format: str | None) -> str:
    chosen = file_format or guess_format(path)
    if chosen not in FORMATS:
        raise UserError(f"unknown format {chosen!r}; choose from {', '.join(FORMATS)}")
    return chosen


def guess_format(path: Path) -> str:
    """Return the format that belongs to the suffix of a file.

    Raises:
        UserError: the suffix belongs to no format.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise UserError(f"cannot tell what kind of file this is; name one of {', '.join(FORMATS)}")
    return _SUFFIXES[suffix]


def _read_parquet(path: Path, choice: ColumnChoice, budget: Budget) -> RawFile:
    columns, num_rows = read_columns(path, choice, budget)
    users, items, *times = columns
    no_rejects, time = Rejects.join([]), times[0] if times else None
    return RawFile(users, items, time, None, no_rejects, num_rows, typed=True)


def _read_text(
    path: Path, choice: ColumnChoice, text_format: str, progress: Progress, budget: Budget
) -> RawFile:
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        dialect, columns = detect_dialect(stream.read(HEAD_BYTES), choice, text_format)
    with path.open("rb") as packed, unpacked(packed) as stream:

        def report() -> None:
            progress(f"reading {path.name}", packed.tell(), size)

        rows = read_text(stream, dialect, columns.places, report, budget=budget)
    users, items, *times = rows.columns
    time = times[0] if times else None
    return RawFile(users, items, time, rows.lines, rows.rejects, rows.num_lines, typed=False)


@contextmanager
def unpacked(packed: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the bytes of a file, decompressed if they are gzip, whatever the file's name."""
    magic = packed.read(len(_GZIP))
    packed.seek(0)
    if magic == _GZIP:
        with gzip.open(packed) as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        yield packed
