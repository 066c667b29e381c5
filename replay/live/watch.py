"""Files that appear in a folder, each given once it is whole: once it stays as it is."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from perennial.storage.objects.bucket import Bucket, Place, RemotePath

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
"""Ends of names under which programs write what they rename when it is whole."""

_Look = tuple[int, int]
"""Size and time of modification."""


@dataclass
class WatchedFolder:
    """A folder that is looked into again and again.

    Attributes:
        path: the folder, here or on object storage; what lies in its folders is not looked at.
        settle: seconds that a file must have stayed as it is.
        seconds: a clock that only runs forward.
    """

    path: Place
    settle: float
    seconds: Callable[[], float] = time.monotonic
    _seen: dict[Place, tuple[_Look, float]] = field(default_factory=dict)
    _taken: dict[Place, _Look] = field(default_factory=dict)
    _bucket: Bucket | None = None

    def look(self) -> tuple[Place, ...]:
        """The files that are whole and were not given before as they are now, by name.

        Raises:
            UserError: object storage does not show the folder.
        """
        now, whole = self.seconds(), []
        present = dict(self._looks())
        self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        for path, look in present.items():
            if self._taken.get(path) == look:
                continue
            first, since = self._seen.get(path, (None, now))
            if first != look:
                since = now
            self._seen[path] = (look, since)
            if now - since >= self.settle:
                whole.append(path)
                self._taken[path] = look
        return tuple(sorted(whole, key=_natural))

    def give_again(self, paths: Iterable[Place]) -> None:
        """Give files once more at the next look, though they stay as they are."""
        for path in paths:
            self._taken.pop(path, None)

    def _looks(self) -> Iterator[tuple[Place, _Look]]:
        if isinstance(self.path, RemotePath):
            self._bucket = self._bucket or Bucket(self.path)
            for found in self._bucket.list(self.path):
                if not _is_unfinished(found.place.name):
                    yield found.place, (found.size, found.changed)
            return
        for path in self.path.iterdir():
            if _is_unfinished(path.name):
                continue
            try:
                state = path.stat()
            except OSError:
                continue  # It went while it was looked at.
            if path.is_file():
                yield path, (state.st_size, state.st_mtime_ns)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


def _natural(path: Place) -> list[tuple[int, str]]:
    """Sorts names with numbers as people do: day-2 before day-10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
