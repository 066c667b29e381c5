"""The model that answers, and the thread that puts each newly published one in its place."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from replay.service.answering import Answers
from replay.service.metrics import ServiceMetrics
from replay.service.store_file import Stamp, StoreFile
from storage.errors import UserError
from storage.live import newest_publication
from storage.store import Store

LOG = logging.getLogger("perennial.service")

_LONGEST_PAUSE = 8.0
"""Seconds between two tries while the store cannot be read."""


class Published(Protocol):
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

    def __init__(self, answers: Answers | None = None) -> None:
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
        load: Callable[[Store], Answers] = Answers.load,
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

    def _read(self) -> Answers | None:
        """The newest publication's model, unless it is the one that answers already.

        Where nothing is published any more it is the one that answers, without users who are gone.
        """
        with self._file.reading() as store:
            newest, now = newest_publication(store), self._current.answers
            # Neither alone will do: `perennial forget` publishes a period again, under another key,
            # and the same fit may be published anew.
            if newest is None:
                # Someone was erased, and the model without them is still being made.
                return None if now is None else now.of_those_in(store)
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


def _same(one: Published, other: Published) -> bool:
    return (one.fit_key, one.published) == (other.fit_key, other.published)
