"""Log files of all formats, read into the same columns."""

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

import pyarrow as pa

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.delimited_text.dialects import HEAD_BYTES, detect_layout
from perennial.storage.reading.delimited_text.encodings import detect_encoding, transcode, unpacked
from perennial.storage.reading.delimited_text.parsing import read_text
from perennial.storage.reading.filters import keep_counted
from perennial.storage.reading.json_lines.reader import read_json_lines
from perennial.storage.reading.layout import RawFile, make_raw_file
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.netflix import is_netflix, read_netflix
from perennial.storage.reading.parquet import read_parquet, read_parquet_times
from perennial.storage.reading.settings import LOG_ROLES, FileSettings, IngestSettings, Role


class Reader(Protocol):
    """Reader of one format."""

    def __call__(
        self, path: Path, settings: FileSettings, progress: Progress, budget: Budget, /
    ) -> RawFile:
        """Read a log file; arguments as for `read_file`, and the memory for its contents."""


@dataclass(frozen=True)
class Format:
    """A format of log files: its reader, its suffixes, and the settings of text that it uses.

    The suffixes are in lower case, without `.gz`.
    """

    read: Reader
    suffixes: tuple[str, ...]
    options: tuple[str, ...] = ()


def read_delimited(
    path: Path, settings: FileSettings, progress: Progress, budget: Budget, *, text_format: str
) -> RawFile:
    """Read a log of delimited text as a `Reader`; `text_format` is one of `FORMATS`."""
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        encoding = detect_encoding(stream.read(HEAD_BYTES), settings)
    with path.open("rb") as packed, unpacked(packed) as stream:
        found = detect_layout(transcode(stream, encoding).read(HEAD_BYTES), settings, text_format)
    with path.open("rb") as packed, unpacked(packed) as stream:

        def report() -> None:
            progress(f"reading {path.name}", packed.tell(), size)

        utf8 = transcode(stream, encoding)
        rows = read_text(utf8, found.dialect, found.columns.inside, report, budget=budget)
    raw = make_raw_file(
        "text",
        found.names,
        found.columns,
        rows.columns,
        found.hint,
        rows.lines,
        rows.rejects,
        settings,
        budget,
        header=found.header,
        header_guessed=found.header_guessed,
        separator=found.dialect.delimiter.decode(),
        encoding=encoding.upper(),
    )
    if rows.suspect is None:
        return raw
    remark = (
        f"line {rows.suspect:,}: quotes join lines that look like rows of their own into one row; "
        "if they are stray, mend the line"
    )
    return replace(raw, remarks=(*raw.remarks, remark))


def _text(text_format: str, *suffixes: str) -> Format:
    reader = partial(read_delimited, text_format=text_format)
    return Format(reader, suffixes, ("header", "encoding"))


FORMATS: Mapping[str, Format] = {
    "parquet": Format(read_parquet, (".parquet", ".pq")),
    "csv": _text("csv", ".csv"),
    "tsv": _text("tsv", ".tsv", ".tab", ".data"),
    "dat": _text("dat", ".dat"),
    "inter": _text("inter", ".inter"),
    "ader": _text("ader", ".txt"),
    "jsonl": Format(read_json_lines, (".jsonl", ".ndjson", ".json"), ("encoding",)),
    "netflix": Format(read_netflix, ()),
}
"""Name on the command line -> format. A new format is one reader and one line here."""

_PACKED = (".zip", ".zst", ".xz", ".bz2", ".7z", ".rar", ".tar", ".tgz", ".lz4", ".z")
_ERRORS = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


def read_file(
    path: Path,
    settings: IngestSettings,
    progress: Progress = ignore_progress,
    roles: tuple[Role, ...] = LOG_ROLES,
) -> RawFile:
    """Read the rows of a log file, or of another one with these `roles` of columns, that count.

    Progress is of the bytes of a text file.

    Raises:
        UserError: the file cannot be read or takes too much memory, or its columns cannot be found.
    """
    with readable_errors(path):
        chosen = _choose_format(path, settings)
        for option in ("header", "encoding"):
            if getattr(settings, option) is not None and option not in FORMATS[chosen].options:
                raise UserError(f"--{option} is given, and {chosen} files have none; leave it out")

        of_file = FileSettings.of(settings, find_partitions(path), roles)
        return keep_counted(FORMATS[chosen].read(path, of_file, progress, Budget()), settings)


def read_times(path: Path, settings: IngestSettings) -> Column | None:
    """Read the times of the rows that count, as `read_file`; `None` if there are none."""
    with readable_errors(path):
        needs_all = settings.where or settings.min_rating is not None or find_partitions(path)
        if _choose_format(path, settings) == "parquet" and not needs_all:
            of_file = FileSettings.of(settings, {}, LOG_ROLES)
            return read_parquet_times(path, of_file, Budget())
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
    if settings.format is None and path.name.lower().removesuffix(".gz").endswith(".txt"):
        with path.open("rb") as packed, unpacked(packed) as stream:
            return "netflix" if is_netflix(stream.read(64)) else chosen
    return chosen


def find_partitions(path: Path) -> dict[str, str]:
    """Return the keys and values of the folders `key=value` next above a file (Hive).

    The lowest counts if several have one key. Folders above one without such a name do not count.
    """
    pairs = (folder.split("=", 1) for folder in partition_folders(path.parent.parts))
    return {key: unquote(value) for key, value in pairs}


def partition_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the last of some folders, from the first after which all are `key=value`."""
    return tuple(takewhile(lambda name: "=" in name, reversed(folders)))[::-1]


def guess_format(path: Path) -> str:
    """Return the format that the suffix of a file belongs to; `UserError` if there is none."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    for name, one in FORMATS.items():
        if suffix in one.suffixes:
            return name
    if suffix in _PACKED:
        raise UserError(f"packed as {suffix}; unpack it, or pack it with gzip")
    raise UserError(f"cannot recognise the format of this file; name one of {', '.join(FORMATS)}")
