"""New files of a folder, each returned once it is complete: once it no longer changes."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from perennial.storage.objects.bucket import Bucket, Place, RemotePath

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
"""Suffixes under which programs write files that they rename when complete."""

_Version = tuple[int, int]
"""Size and time of modification."""


@dataclass
class WatchedFolder:
    """A folder that is polled, without its subfolders, local or on object storage.

    A file must not have changed for `settle` seconds, by a clock that only runs forward.
    """

    path: Place
    settle: float
    seconds: Callable[[], float] = time.monotonic
    _seen: dict[Place, tuple[_Version, float]] = field(default_factory=dict)
    _taken: dict[Place, _Version] = field(default_factory=dict)
    _bucket: Bucket | None = None

    def poll(self) -> tuple[Place, ...]:
        """Return the complete files that were not returned before in this version, by name."""
        now, complete = self.seconds(), []
        present = dict(self._versions())
        self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        for path, version in present.items():
            if self._taken.get(path) == version:
                continue
            first, since = self._seen.get(path, (None, now))
            if first != version:
                since = now
            self._seen[path] = (version, since)
            if now - since >= self.settle:
                complete.append(path)
                self._taken[path] = version
        return tuple(sorted(complete, key=_natural))

    def forget(self, paths: Iterable[Place]) -> None:
        """Return these files once more at the next poll."""
        for path in paths:
            self._taken.pop(path, None)

    def _versions(self) -> Iterator[tuple[Place, _Version]]:
        if isinstance(self.path, RemotePath):
            self._bucket = self._bucket or Bucket(self.path)
            for entry in self._bucket.list(self.path):
                if not _is_unfinished(entry.place.name):
                    yield entry.place, (entry.size, entry.changed)
            return
        for path in self.path.iterdir():
            if _is_unfinished(path.name):
                continue
            try:
                state = path.stat()
            except OSError:
                continue  # It was removed meanwhile.
            if path.is_file():
                yield path, (state.st_size, state.st_mtime_ns)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


def _natural(path: Place) -> list[tuple[int, str]]:
    """Sort key of names with numbers: day-2 before day-10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
