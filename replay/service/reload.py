"""The model that answers, and the thread that puts each newly published one in its place."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from perennial.replay.logs import open_for_reading
from perennial.replay.recommend.recommender import Recommender
from perennial.replay.service.limits import RETRY_AFTER, Refusal
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.storage.access import snapshot_path
from perennial.storage.errors import UserError
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

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


LOG = logging.getLogger("perennial.service")

_LONGEST_PAUSE = 8.0
"""Seconds between two tries while the store cannot be read."""


class PublishedModel(Protocol):
    """What tells one published model from another."""

    @property
    def fit_key(self) -> str: ...  # noqa: D102

    @property
    def published(self) -> datetime: ...  # noqa: D102


class CurrentModel:
    """The one reference that a request takes at its start and keeps to its end.

    Attributes:
        answers: the newest published model; `None` before the first.
    """

    def __init__(self, answers: Recommender | None = None) -> None:
        self.answers = answers


class Watcher:
    """Looks for a new publication whenever the store's file has changed."""

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
        self._seen: Stamp | None = None
        self._failures = 0
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-store", daemon=True)

    def start(self) -> None:
        """Look at once in a while from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is not waited for long."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def look(self) -> bool:
        """Take over the newest publication if it is another one; whether it was.

        Raises:
            UserError: the store cannot be read, maybe only now.
        """
        # Before reading: a change in between shows as another stamp at the next look.
        stamp = self._file.stamp()
        if stamp == self._seen:
            return False
        found = self._read()
        self._seen = stamp
        if found is None:
            return False
        self._current.answers = found
        self._metrics.note_model(found.period, found.published)
        LOG.info("period %d answers now, published %s UTC", found.period, found.published)
        return True

    def _read(self) -> Recommender | None:
        """The newest publication's model, unless it is the one that answers already.

        Where nothing is published any more it is the one that answers, without users who are gone.
        """
        with self._file.reading() as store:
            newest, now = newest_publication(store), self._current.answers
            # Neither alone will do: `perennial forget` publishes a period again, under another key,
            # and the same fit may be published anew.
            if newest is None:
                # Someone was erased, and the model without them is still being made.
                return None if now is None else now.without_erased_users(store)
            if now is not None and _same(now, newest):
                return None
            return self._load(store)

    def _run(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                self.look()
            except Exception as error:
                self._note_failure(error)
            else:
                self._failures, self._said = 0, ""

    def _pause(self) -> float:
        return float(min(self._every * 2**self._failures, max(self._every, _LONGEST_PAUSE)))

    def _note_failure(self, error: Exception) -> None:
        """Count it; say it once as long as it stays the same."""
        self._metrics.failed_swaps.inc()
        self._failures = min(self._failures + 1, 10)
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if said != self._said:
            LOG.warning("%s; the model before goes on, and this is tried again", said)
        self._said = said


def _same(one: PublishedModel, other: PublishedModel) -> bool:
    return (one.fit_key, one.published) == (other.fit_key, other.published)


Json = Any
"""What `json.dumps` takes."""


class StatusReader:
    """Reads it in a worker thread; one at a time."""

    def __init__(self, file: StoreFile, read: Callable[[Store], Mapping[str, Json]]) -> None:
        self._file, self._read = file, read
        self._known: tuple[Stamp, Mapping[str, Json]] | None = None

    def read(self) -> Mapping[str, Json]:
        """What is so, or was so when the store could last be read.

        Raises:
            Refusal: 503, it could not be read yet.
        """
        stamp = self._file.stamp()
        if self._known is not None and self._known[0] == stamp:
            return self._known[1]
        try:
            with self._file.reading() as store:
                found = self._read(store)
        except (UserError, OSError) as error:
            if self._known is not None:
                return self._known[1]
            # A writer may sweep a file away between its name and its size.
            line = str(error) if isinstance(error, UserError) else "the store is being changed"
            raise Refusal(503, line, RETRY_AFTER) from None
        self._known = (stamp, found)
        return found
