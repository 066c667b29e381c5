"""The state of the live model, read from the store at most once per change of its file."""

from collections.abc import Callable, Mapping
from typing import Any

from replay.service.limits import RETRY_AFTER
from replay.service.refusals import Refusal
from replay.service.store_file import Stamp, StoreFile
from storage.errors import UserError
from storage.store import Store

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
