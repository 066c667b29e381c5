"""A folder that period files are written to, on this machine or on object storage."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from storage.errors import UserError
from storage.fetched import room_beside
from storage.remote import Bucket, Place, Remote
from storage.snapshot import sync_folder


class Folder(Protocol):
    """What writing files into a folder needs."""

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    def names(self) -> list[str]:
        """Of the files in it, sorted; none where it is not there.

        Raises:
            UserError: it is no folder, or cannot be reached.
        """
        ...

    def open(self, name: str) -> Any:
        """A file in it, as pyarrow reads one.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def new(self, name: str) -> Path:
        """Where to write a file that is not to be seen before it is whole."""
        ...

    def put(self, written: Path, name: str) -> None:
        """Let a file that was written be seen under its name, in the place of another."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...


class HereFolder:
    """A folder on this machine."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def names(self) -> list[str]:
        """See `Folder`."""
        if self.place.exists() and not self.place.is_dir():
            raise UserError(f"{self.place}: is a file; name a folder")
        return sorted(path.name for path in self.place.glob("*"))

    def open(self, name: str) -> Any:
        """See `Folder`."""
        return self.place / name

    def new(self, name: str) -> Path:
        """See `Folder`."""
        self.place.mkdir(parents=True, exist_ok=True)
        return self.place / f".{name}.partial"

    def put(self, written: Path, name: str) -> None:
        """See `Folder`; it is on the disk afterwards."""
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(self.place / name)
        sync_folder(self.place)

    def remove(self, name: str) -> None:
        """See `Folder`."""
        (self.place / name).unlink()


class RemoteFolder:
    """A folder on object storage; files are written here first."""

    def __init__(self, place: Remote, room: Path) -> None:
        self.place = place
        self._room = room
        self._bucket = Bucket(place)

    def names(self) -> list[str]:
        """See `Folder`."""
        return sorted(one.place.name for one in self._bucket.list(self.place))

    def open(self, name: str) -> Any:
        """See `Folder`."""
        return self._bucket.open(self.place / name)

    def new(self, name: str) -> Path:
        """See `Folder`."""
        return self._room / name

    def put(self, written: Path, name: str) -> None:
        """See `Folder`."""
        self._bucket.put(written, self.place / name)

    def remove(self, name: str) -> None:
        """See `Folder`."""
        self._bucket.remove(self.place / name)


@contextmanager
def open_folder(place: Place, beside: Path) -> Iterator[Folder]:
    """A folder to write to.

    Args:
        place: of the folder.
        beside: a folder here, where files that go to object storage are made.

    Raises:
        UserError: its bucket cannot be reached.
    """
    if isinstance(place, Path):
        yield HereFolder(place)
        return
    with room_beside(beside) as room:
        yield RemoteFolder(place, room)
