"""The store as a running service sees it: a file that others change."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replay.opening import open_for_reading
from storage.snapshot import snapshot_path
from storage.store import Store

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Modification time, size and inode of the store and its snapshot; `None` where there is none."""


class StoreFile:
    """A store by its path, opened for moments only, so that writers get in.

    Attributes:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def stamp(self) -> Stamp:
        """Differs once the store or its snapshot has changed."""
        return tuple(_stamp(path) for path in (self.path, snapshot_path(self.path)))

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The open store.

        Raises:
            UserError: it cannot be read, maybe only now.
        """
        # One at a time: DuckDB shares an open file within a process, so a thread that opens it
        # while another still has it would not see that a writer has replaced it.
        with self._lock, open_for_reading(self.path) as store:
            yield store


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
