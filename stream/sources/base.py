"""Protocol of a source of logs, and the log files that it returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perennial.storage.base import Progress

if TYPE_CHECKING:
    from perennial.storage.reading.settings import IngestSettings


@dataclass(frozen=True)
class LogFiles:
    """A log as files on this machine, ready to be ingested.

    Attributes:
        paths: its files, in the order of time as far as their names show it.
        cut: default cut of the log; `files` if each file is a period.
    """

    name: str
    paths: tuple[Path, ...]
    settings: "IngestSettings"
    cut: str = "equal-count"


@dataclass(frozen=True)
class SourceInfo:
    """Description of a source for `perennial datasets list`.

    Attributes:
        summary: content of the log, in a few words.
        size: rows, users, items; bytes to download.
        licence: permitted use, in a few words.
    """

    summary: str
    size: str
    licence: str


class Source(Protocol):
    """A log with a name."""

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    @property
    def info(self) -> SourceInfo:
        """Description of the log."""
        ...

    def state(self, cache: Path) -> str:
        """Return `ready`, or what `open` needs first, in a few words."""
        ...

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Download, generate or find the files of the log.

        Args:
            cache: folder for downloads and generated logs; created if absent.
            mirror: address to download from in place of the publisher's.
            progress: called during anything that takes over two seconds.

        Raises:
            UserError: the log is not available.
        """
        ...
