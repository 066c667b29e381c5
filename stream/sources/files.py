"""Logs that are a file, or a folder whose files are the periods."""

import re
from collections.abc import Sequence
from pathlib import Path

from perennial.storage.errors import UserError
from perennial.storage.reading.formats import guess_format
from perennial.storage.reading.settings import IngestSettings
from perennial.stream.sources.base import LogFiles

_PERIOD = re.compile(r"period_\d+\.txt(\.gz)?", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")


def open_path(path: Path) -> LogFiles:
    """Find the files of a log.

    The files of a folder are periods, in natural name order (`period_2` before `period_10`). If
    some are named `period_N.txt`, as in ADER, the others are left out; otherwise all files count
    whose suffix is one of a known format. Subfolders are ignored.

    Raises:
        UserError: the folder has no such file, or the path cannot be read.
    """
    try:
        if not path.is_dir():
            return LogFiles(_stem(path), (path,), IngestSettings())
        names = choose_periods(path, [entry.name for entry in path.iterdir() if entry.is_file()])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    files = tuple(path / name for name in names)
    return LogFiles(path.resolve().name, files, IngestSettings(), cut="files")


def choose_periods(folder: object, names: Sequence[str]) -> tuple[str, ...]:
    """Return the files of a folder that are periods, in natural name order.

    Raises:
        UserError: no file is a period.
    """
    files = [name for name in names if not name.startswith(".") and _is_log(name)]
    periods = [name for name in files if _PERIOD.fullmatch(name)] or files
    if not periods:
        raise UserError(
            f"folder {folder} has no log in it; name the file, or a folder of files "
            "whose names end in .parquet, .csv, .tsv, .dat, .inter or .txt"
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
