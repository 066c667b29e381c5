"""Current model of the service, and the thread that replaces it by each new publication."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perennial.replay.recommend.recommender import Recommender
from perennial.replay.service.limits import RETRY_AFTER, Refusal
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.storage.access import snapshot_path
from perennial.storage.errors import UserError
from perennial.storage.opening import open_for_reading, resolve_store
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

LOG = logging.getLogger("perennial.service")

_MAX_INTERVAL = 8.0
"""Most seconds between two attempts while the store cannot be read."""

FileStamp = tuple[int, int, int]
"""Modification time (ns), size and inode of a file; an inode alone may be given again."""

Stamp = tuple[FileStamp | None, ...]
"""Those of the store and its snapshot; `None` for a missing file."""


class StoreFile:
    """A store by its path, opened only for short moments, so that writers can open it."""

    def __init__(self, path: Path) -> None:
        self.path = resolve_store(path)
        self._lock = threading.Lock()

    def stamp(self) -> Stamp:
        """Return a value that differs once the store or its snapshot has changed."""
        return tuple(_stamp(path) for path in (self.path, snapshot_path(self.path)))

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """Open the store for reading; raise `UserError` if it cannot be read, maybe only now."""
        # One at a time: DuckDB shares an open file within a process, so a thread that opens it
        # while another one still has it open would miss that a writer has replaced it.
        with self._lock, open_for_reading(self.path) as store:
            yield store


class CurrentModel:
    """Reference to the current model, `None` before the first; a request keeps what it has read."""

    def __init__(self, recommender: Recommender | None = None) -> None:
        self.recommender = recommender


class Watcher:
    """Thread that loads a new publication whenever the store's file has changed.

    The current model changes only while `StoreFile.reading` is held, so no change is lost.
    """

    def __init__(
        self,
        file: StoreFile,
        current: CurrentModel,
        metrics: ServiceMetrics,
        *,
        every: float = 1.0,
        load: Callable[[Store], Recommender] = Recommender.load,
    ) -> None:
        self._file, self._current, self._metrics = file, current, metrics
        self._every, self._load = every, load
        self._stamp: Stamp | None = None
        self._checked_file: FileStamp | None = None
        self._failures = 0
        self._last_error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-store", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling; wait only a short time for a check in progress."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def check(self) -> bool:
        """Load the newest publication if it is a new one, and return whether it was."""
        # Taken before reading: a change in between gives another stamp at the next check.
        stamp = self._file.stamp()
        if stamp == self._stamp:
            return False
        with self._file.reading() as store:
            self._drop_erased_users(store, stamp)
            recommender = self._newer(store)
            if recommender is not None:
                self._current.recommender = recommender
        self._stamp = stamp
        if recommender is None:
            return False
        self._metrics.record_model(recommender.period, recommender.published)
        LOG.info(
            "period %d answers now, published %s UTC", recommender.period, recommender.published
        )
        return True

    def drop_erased_users(self) -> None:
        """Drop the users that a store written anew no longer has, whatever is published in it.

        Called before each answer to a user. Only a rewrite removes users, and it gives the store
        another file.

        Raises:
            Refusal: 503, the new file cannot be read yet.
        """
        stamp = self._file.stamp()
        if stamp[0] in (None, self._checked_file):
            return
        try:
            with self._file.reading() as store:
                self._drop_erased_users(store, stamp)
        except UserError:
            message = "the store was written anew and cannot be read yet; try again later"
            raise Refusal(503, message, RETRY_AFTER) from None

    def _drop_erased_users(self, store: Store, stamp: Stamp) -> None:
        """Drop them; the stamp was taken before the store was opened."""
        now = self._current.recommender
        if now is not None:
            self._current.recommender = now.without_erased_users(store)
        self._checked_file = stamp[0]

    def _newer(self, store: Store) -> Recommender | None:
        """Return the recommender that should replace the current one, or `None`."""
        newest, now = newest_publication(store), self._current.recommender
        if newest is None:
            return None
        # The key alone does not suffice, as the same fit may be published anew; nor does the
        # time: `perennial forget` publishes a period again, under another key.
        is_same = now and (now.fit_key, now.published) == (newest.fit_key, newest.published)
        # Histories of erased users leave the memory even if their periods were never published.
        return None if is_same and now and not now.has_erased_users else self._load(store)

    def _run(self) -> None:
        interval = self._every
        while not self._stop.wait(interval):
            try:
                self.check()
            except Exception as error:
                self._record_failure(error)
            else:
                self._failures, self._last_error = 0, ""
            interval = min(self._every * 2**self._failures, max(self._every, _MAX_INTERVAL))

    def _record_failure(self, error: Exception) -> None:
        """Count a failed check; log it once as long as the error stays the same."""
        self._metrics.failed_swaps.inc()
        self._failures = min(self._failures + 1, 10)
        line = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if line != self._last_error:
            LOG.warning("%s; the previous model stays in service, and this is tried again", line)
        self._last_error = line


class StatusReader:
    """Live state of the store, read again only after a change of its file."""

    def __init__(self, file: StoreFile, read: Callable[[Store], Mapping[str, object]]) -> None:
        self._file, self._read = file, read
        self._last: tuple[Stamp, Mapping[str, object]] | None = None

    def read(self) -> Mapping[str, object]:
        """Return the state, the last one if the store cannot be read, or refuse with 503."""
        stamp = self._file.stamp()
        if self._last is not None and self._last[0] == stamp:
            return self._last[1]
        try:
            with self._file.reading() as store:
                status = self._read(store)
        except (UserError, OSError) as error:
            if self._last is not None:
                return self._last[1]
            # A writer may remove a file after its name was listed.
            message = str(error) if isinstance(error, UserError) else "the store is being changed"
            raise Refusal(503, message, RETRY_AFTER) from None
        self._last = (stamp, status)
        return status


def _stamp(path: Path) -> FileStamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
