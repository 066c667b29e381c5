"""Logs that are a file, or a folder of files."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from perennial.storage.errors import UserError
from perennial.storage.reading.formats import guess_format
from perennial.storage.reading.settings import IngestSettings
from perennial.stream.sources.base import LogFiles

_PERIOD = re.compile(r"period_\d+\.txt(\.gz)?", re.IGNORECASE)
_NETFLIX = re.compile(r"(combined_data|mv)_\d+\.txt(\.gz)?", re.IGNORECASE)
# Next to tables a JSON file describes them.
_TABLE = re.compile(r".*(?<!\.json)(?<!\.json\.gz)", re.IGNORECASE | re.DOTALL)
_PREFERRED = (_PERIOD, _NETFLIX, _TABLE)
_PARTITION = re.compile(r"[^=._][^=]*=.+")
_DIGITS = re.compile(r"(\d+)")


def open_path(path: Path) -> LogFiles:
    """Find the files of a log.

    The files of a folder are periods, in natural name order (`period_2` before `period_10`). If
    some are named `period_N.txt`, as in ADER, the others are left out; otherwise all files count
    whose suffix is one of a known format, `.json` only if there is no other. Subfolders are
    ignored. The files `combined_data_N.txt` or `mv_N.txt` of the Netflix prize are one log, and so
    are all files below a folder with subfolders `key=value` (Hive).

    Raises:
        UserError: the folder has no such file, or the path cannot be read.
    """
    try:
        if not path.is_dir():
            return LogFiles(_stem(path), (path,), IngestSettings())
        entries = list(path.iterdir())
        if has_partitions([entry.name for entry in entries if entry.is_dir()]):
            below = [
                Path(root, name).relative_to(path).as_posix()
                for root, _, names in os.walk(path)
                for name in names
            ]
            partitions = tuple(path / name for name in choose_partitions(path, below))
            return LogFiles(path.resolve().name, partitions, IngestSettings())
        names = choose_periods(path, [entry.name for entry in entries if entry.is_file()])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    files = tuple(path / name for name in names)
    cut = "equal-count" if _NETFLIX.fullmatch(names[0]) else "files"
    return LogFiles(path.resolve().name, files, IngestSettings(), cut=cut)


def has_partitions(subfolders: Iterable[str]) -> bool:
    """Return True if the name of a subfolder is a key and a value (Hive)."""
    return any(_PARTITION.fullmatch(name) for name in subfolders)


def choose_partitions(folder: object, names: Iterable[str]) -> tuple[str, ...]:
    """Return the paths below a folder that are logs, in natural order, without those of writers.

    Raises:
        UserError: there is none.
    """
    found = [
        name
        for name in names
        if _is_log(name) and not any(part.startswith((".", "_")) for part in name.split("/"))
    ]
    if not found:
        raise UserError(f"folder {folder} has no log in it, only empty subfolders")
    return tuple(
        sorted(found, key=lambda name: [natural_key(Path(one)) for one in name.split("/")])
    )


def choose_periods(folder: object, names: Sequence[str]) -> tuple[str, ...]:
    """Return the files of a folder that are periods, in natural name order; `UserError` if none."""
    files = [name for name in names if not name.startswith(".") and _is_log(name)]
    chosen = ([name for name in files if one.fullmatch(name)] for one in _PREFERRED)
    periods = next((names for names in chosen if names), files)
    if not periods:
        raise UserError(
            f"folder {folder} has no log in it; name the file, or a folder of files "
            "whose names end in .parquet, .csv, .tsv, .dat, .inter, .jsonl or .txt"
        )
    return tuple(sorted(periods, key=lambda name: natural_key(Path(name))))


def natural_key(path: Path) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that compares digits as numbers; distinct names have distinct keys."""
    parts = _DIGITS.split(path.name.casefold())
    # Text and digits alternate, so that text is only compared with text.
    key = tuple(int(part) if place % 2 else part for place, part in enumerate(parts))
    return key, path.name


def _is_log(name: str) -> bool:
    try:
        guess_format(Path(name))
    except UserError:
        return False
    return True


def _stem(path: Path) -> str:
    """Return the file's name without the suffixes of its format."""
    name = path.name
    if name.lower().endswith(".gz"):
        name = name[:-3]
    return Path(name).stem or path.name
