"""Log files of all formats, read into the same columns."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.delimited_text.dialects import HEAD_BYTES, detect_layout
from perennial.storage.reading.delimited_text.encodings import detect_encoding, transcode
from perennial.storage.reading.delimited_text.parsing import read_text
from perennial.storage.reading.layout import FileLayout
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.parquet import read_columns
from perennial.storage.reading.rejects import Rejects
from perennial.storage.reading.settings import IngestSettings

FORMATS = ("parquet", "csv", "tsv", "dat", "inter", "ader")
_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".data": "tsv", ".dat": "dat", ".inter": "inter", ".txt": "ader",
}  # fmt: skip
_GZIP = b"\x1f\x8b"
_ERRORS = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


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
        layout: interpretation of the file.
        remarks: what its owner should know of that, one line each.
    """

    users: Column
    items: Column
    times: Column | None
    lines: NDArray[np.int64] | None
    rejects: Rejects
    num_lines: int
    typed: bool
    layout: FileLayout
    remarks: tuple[str, ...] = ()

    def line_numbers(self) -> NDArray[np.int64]:
        """Return the line of each row, `(n,)` int64."""
        return np.arange(1, len(self.users) + 1) if self.lines is None else self.lines


def read_file(
    path: Path, settings: IngestSettings, progress: Progress = ignore_progress
) -> RawFile:
    """Read a log file.

    Args:
        path: the file.
        settings: format, columns and what else the user gave.
        progress: called with the bytes of a text file read so far.

    Raises:
        UserError: the file cannot be read or takes too much memory, or its columns cannot be found.
    """
    with readable_errors(path):
        budget, chosen = Budget(), _choose_format(path, settings.format)
        if chosen == "parquet":
            return _read_parquet(path, settings, budget)
        return _read_text(path, settings, chosen, progress, budget)


def read_times(path: Path, settings: IngestSettings) -> Column | None:
    """Read only the time column of a log file; `None` if it has none; arguments as for `read_file`.

    Raises:
        UserError: as of `read_file`.
    """
    with readable_errors(path):
        budget, chosen = Budget(), _choose_format(path, settings.format)
        if chosen == "parquet":
            read = read_columns(path, settings, budget, first=2)
            return read.columns[0] if read.columns else None
        return _read_text(path, settings, chosen, ignore_progress, budget).times


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn every error that reading a file may raise into a `UserError` of one line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not written in {error.encoding}; name its encoding with --encoding"
        ) from error
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


def _read_parquet(path: Path, settings: IngestSettings, budget: Budget) -> RawFile:
    read = read_columns(path, settings, budget)
    users, items, *times = read.columns
    layout = FileLayout("Parquet", *_shown(read.names), rows=read.num_rows)
    return RawFile(
        users,
        items,
        times[0] if times else None,
        None,
        Rejects.join([]),
        read.num_rows,
        typed=True,
        layout=layout,
        remarks=() if times else (_describe_order(read.hint),),
    )


def _read_text(
    path: Path, settings: IngestSettings, text_format: str, progress: Progress, budget: Budget
) -> RawFile:
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        encoding = detect_encoding(stream.read(HEAD_BYTES), settings)
    with path.open("rb") as packed, unpacked(packed) as stream:
        found = detect_layout(transcode(stream, encoding).read(HEAD_BYTES), settings, text_format)
    with path.open("rb") as packed, unpacked(packed) as stream:

        def report() -> None:
            progress(f"reading {path.name}", packed.tell(), size)

        utf8 = transcode(stream, encoding)
        rows = read_text(utf8, found.dialect, found.columns.places, report, budget=budget)
    users, items, *times = rows.columns
    layout = FileLayout(
        "text",
        *_shown([found.names[place] for place in found.columns.places]),
        header=found.header,
        header_guessed=found.header_guessed,
        separator=found.dialect.delimiter.decode(),
        encoding=encoding.upper(),
        rows=rows.num_lines,
    )
    return RawFile(
        users,
        items,
        times[0] if times else None,
        rows.lines,
        rows.rejects,
        rows.num_lines,
        typed=False,
        layout=layout,
        remarks=() if times else (_describe_order(found.hint),),
    )


def _shown(names: Sequence[str]) -> tuple[str, str, str | None]:
    """Return the names of user, item and time, safe for a screen."""
    user, item, *time = (printable(name, 40) for name in names)
    return user, item, time[0] if time else None


def _describe_order(hint: str | None) -> str:
    """Describe what takes the place of times, and the column that may hold them."""
    words = "no time column found, so the order of the lines is the order of time"
    if hint is None:
        return f"{words}; name one with --time-column"
    return f"{words}; does '{printable(hint, 40)}' hold the times? name it with --time-column"


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
