"""The seam between where a log comes from and everything that reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perennial.storage.log.ingest import IngestSettings
from perennial.storage.progress import Progress


@dataclass(frozen=True)
class LogFiles:
    """A log as files on this machine, ready to be ingested.

    Attributes:
        name: what to call the log in a report.
        paths: its files in the order of time as far as their names tell it.
        settings: how to read them.
        cut: the cut that suits the log: `files` where each file is a period.
    """

    name: str
    paths: tuple[Path, ...]
    settings: IngestSettings
    cut: str = "equal-count"


@dataclass(frozen=True)
class SourceInfo:
    """What a person wants to know before choosing a source.

    Attributes:
        summary: what the log is.
        size: rows, users, items; bytes to download.
        licence: who may use it for what, in a few words.
    """

    summary: str
    size: str
    licence: str


class Source(Protocol):
    """A log that has a name."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def info(self) -> SourceInfo:
        """What the log is."""
        ...

    def state(self, cache: Path) -> str:
        """`ready`, or what `open` would do or needs first, in a few words."""
        ...

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Make the log's files exist.

        Args:
            cache: folder for downloads and generated logs; made where absent.
            mirror: address to download from in place of the publisher's.
            progress: told about anything that takes over two seconds.

        Raises:
            UserError: it cannot be had, and why.
        """
        ...
