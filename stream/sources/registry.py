"""The sources by name. A new source is one file and one line here.

Names only, so that the command line can list them before anything heavy is imported.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from perennial.storage.errors import UserError

if TYPE_CHECKING:
    from perennial.storage.progress import Progress
    from perennial.stream.sources.base import LogFiles, Source

SOURCES: Mapping[str, str] = {
    "synthetic": "perennial.stream.sources.synthetic:SOURCE",
    "complete-journey": "perennial.stream.sources.complete_journey:SOURCE",
    "ml-100k": "perennial.stream.sources.movielens:ML_100K",
    "ml-1m": "perennial.stream.sources.movielens:ML_1M",
    "ml-20m": "perennial.stream.sources.movielens:ML_20M",
    "amazon-magazine": "perennial.stream.sources.amazon:MAGAZINE",
    "diginetica": "perennial.stream.sources.diginetica:SOURCE",
}
"""Name on the command line -> object that is the `Source`; the embedded default first."""


@dataclass(frozen=True)
class SourceDescription:
    """One line of `perennial datasets list`.

    Attributes:
        name: as on the command line.
        summary: what the log is.
        size: rows, users, items; bytes to download.
        licence: who may use it for what, in a few words.
        state: `ready`, or what is needed first.
    """

    name: str
    summary: str
    size: str
    licence: str
    state: str


def describe_sources(cache: Path) -> tuple[SourceDescription, ...]:
    """Describe each named source and whether it is already in the `cache` or installed."""
    descriptions = []
    for name in SOURCES:
        source = _load(name)
        info = source.info
        descriptions.append(
            SourceDescription(name, info.summary, info.size, info.licence, source.state(cache))
        )
    return tuple(descriptions)


def open_source(
    source: str,
    *,
    cache: Path,
    progress: "Progress | None" = None,
    mirror: str | None = None,
) -> "LogFiles":
    """Find the files of a log, downloading or generating them where needed.

    Args:
        source: a key of `SOURCES`, or the path of a file or of a folder of period files. A name
            goes before a path; `./synthetic` is the file.
        cache: folder for downloads and generated logs; made where absent.
        progress: told about anything that takes over two seconds.
        mirror: address to download from in place of the publisher's.

    Raises:
        UserError: neither a name, a file nor a folder; or the log cannot be had.
    """
    from perennial.storage.progress import ignore_progress
    from perennial.stream.sources.files import open_path

    if source in SOURCES:
        return _load(source).open(cache=cache, mirror=mirror, progress=progress or ignore_progress)
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            f"'{source}' is neither a file, a folder nor a known data set; "
            f"the data sets are {', '.join(SOURCES)}"
        )
    return open_path(path)


def _load(name: str) -> "Source":
    """Import a named source."""
    return cast("Source", pkgutil.resolve_name(SOURCES[name]))
