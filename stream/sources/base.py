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

    `paths` are in the order of time as far as their names show it. `cut` is the log's default one,
    `files` if each file is a period.
    """

    name: str
    paths: tuple[Path, ...]
    settings: "IngestSettings"
    cut: str = "equal-count"


@dataclass(frozen=True)
class SourceInfo:
    """Description of a source for `perennial datasets list`.

    `summary` names the content in a few words, `size` the rows, users, items and bytes to download,
    `licence` the permitted use.
    """

    summary: str
    size: str
    licence: str


class Source(Protocol):
    """A log with a name."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def info(self) -> SourceInfo:
        """Description of the log."""

    def state(self, cache: Path) -> str:
        """Return `ready`, or what `open` needs first, in a few words."""

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Download, generate or find the files of the log; `UserError` if it is not available.

        `cache` is the folder for downloads and generated logs, created if absent, and `mirror` an
        address to download from in place of the publisher's. Progress is called during anything
        that takes over two seconds.
        """
