"""Log files of all formats, read into the same columns."""

import csv
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.delimited_text.reader import read_delimited
from perennial.storage.reading.filters import keep_counted
from perennial.storage.reading.layout import RawFile
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.parquet import read_parquet, read_parquet_times
from perennial.storage.reading.settings import IngestSettings


class Reader(Protocol):
    """Reader of one format."""

    def __call__(
        self, path: Path, settings: IngestSettings, progress: Progress, budget: Budget, /
    ) -> RawFile:
        """Read a log file; arguments as for `read_file`, and the memory for its contents."""
        ...


@dataclass(frozen=True)
class Format:
    """A format of log files.

    Attributes:
        read: its reader.
        suffixes: suffixes of its files, in lower case, without `.gz`.
    """

    read: Reader
    suffixes: tuple[str, ...]


def _text(text_format: str, *suffixes: str) -> Format:
    return Format(partial(read_delimited, text_format=text_format), suffixes)


FORMATS: Mapping[str, Format] = {
    "parquet": Format(read_parquet, (".parquet", ".pq")),
    "csv": _text("csv", ".csv"),
    "tsv": _text("tsv", ".tsv", ".tab", ".data"),
    "dat": _text("dat", ".dat"),
    "inter": _text("inter", ".inter"),
    "ader": _text("ader", ".txt"),
}
"""Name on the command line -> format. A new format is one reader and one line here."""

_ERRORS = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


def read_file(
    path: Path, settings: IngestSettings, progress: Progress = ignore_progress
) -> RawFile:
    """Read the rows of a log file that count.

    Args:
        path: the file.
        settings: format, columns and what else the user gave.
        progress: called with the bytes of a text file read so far.

    Raises:
        UserError: the file cannot be read or takes too much memory, or its columns cannot be found.
    """
    with readable_errors(path):
        chosen = FORMATS[_choose_format(path, settings)]
        return keep_counted(chosen.read(path, settings, progress, Budget()), settings)


def read_times(path: Path, settings: IngestSettings) -> Column | None:
    """Read the times of the rows that count; `None` if there are none; arguments as `read_file`.

    Raises:
        UserError: as of `read_file`.
    """
    with readable_errors(path):
        needs_all = settings.where or settings.min_rating is not None
        if _choose_format(path, settings) == "parquet" and not needs_all:
            return read_parquet_times(path, settings, Budget())
    return read_file(path, settings).times


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


def _choose_format(path: Path, settings: IngestSettings) -> str:
    chosen = settings.format or guess_format(path)
    if chosen not in FORMATS:
        raise UserError(f"unknown format {chosen!r}; choose from {', '.join(FORMATS)}")
    return chosen


def guess_format(path: Path) -> str:
    """Return the format that belongs to the suffix of a file.

    Raises:
        UserError: the suffix belongs to no format.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    for name, one in FORMATS.items():
        if suffix in one.suffixes:
            return name
    raise UserError(f"cannot tell what kind of file this is; name one of {', '.join(FORMATS)}")
