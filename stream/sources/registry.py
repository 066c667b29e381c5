"""The sources by name. A new source is one file and one line here."""

from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.errors import UserError
from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.storage.base import Progress
    from perennial.stream.sources.base import LogFiles, Source

SOURCES: "Registry[Source]" = Registry(
    "source",
    {
        "synthetic": "perennial.stream.sources.synthetic:SOURCE",
        "complete-journey": "perennial.stream.sources.complete_journey:SOURCE",
        "ml-100k": "perennial.stream.sources.movielens:ML_100K",
        "ml-1m": "perennial.stream.sources.movielens:ML_1M",
        "ml-20m": "perennial.stream.sources.movielens:ML_20M",
        "amazon-magazine": "perennial.stream.sources.amazon:MAGAZINE",
        "diginetica": "perennial.stream.sources.diginetica:SOURCE",
    },
    group="perennial.sources",
)
"""Name on the command line -> object that is the `Source`; the embedded default first."""


def open_source(
    source: str, *, cache: Path, progress: "Progress | None" = None, mirror: str | None = None
) -> "LogFiles":
    """Find the files of a log, downloading or generating them where needed.

    A source is a key of `SOURCES`, or the path of a file or of a folder of period files. A name
    goes before a path; `./synthetic` is the file. `mirror` is the address to download from in place
    of the publisher's.

    Raises:
        UserError: neither a name, a file nor a folder; a mirror for a path; or the log cannot be
            had.
    """
    from perennial.storage.base import ignore_progress
    from perennial.stream.sources.files import open_path

    check_source(source)
    path = Path(source).expanduser()
    if source in SOURCES or not path.exists():
        report = progress or ignore_progress
        return SOURCES.load(source).open(cache=cache, mirror=mirror, progress=report)
    if mirror is not None:
        raise UserError(
            f"--mirror is for data sets that are downloaded by name, and {source} is a path; leave "
            "it out"
        )
    return open_path(path)


def check_source(source: str) -> None:
    """Check that a source is a data set, a file or a folder, else `UserError`; nothing is read."""
    named = source in SOURCES or SOURCES.is_target(source)
    if not named and not Path(source).expanduser().exists():
        raise UserError(
            f"'{source}' is neither a file, a folder nor a known data set; "
            f"the data sets are {', '.join(SOURCES)}"
        )
