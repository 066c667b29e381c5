"""Copies of what lies on object storage, here for as long as they are read."""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from perennial.storage.atomic import sync_folder
from perennial.storage.errors import StorageUnavailable, UserError
from perennial.storage.objects.bucket import Bucket, Place, RemotePath
from perennial.storage.progress import Progress, ignore_progress

_PREFIX = ".perennial-fetched-"
_LOCK = ".lock"


@contextmanager
def local_copies(
    places: Sequence[Place], beside: Path, progress: Progress = ignore_progress
) -> Iterator[tuple[Path, ...]]:
    """Files on this machine: those that are here already, and copies of those that are not.

    What goes wrong inside tells of a copy by its address. Copies are removed at the end; those of a
    process that was killed by whoever copies next, or writes to a store in the same folder.

    Args:
        places: files, and objects.
        beside: the folder for copies; the nearest one above it where it is not there.
        progress: told how many bytes of an object are here.

    Raises:
        UserError: an object cannot be had.
    """
    if not any(isinstance(place, RemotePath) for place in places):
        yield tuple(place for place in places if isinstance(place, Path))
        return
    with _folder(beside) as folder:
        paths = []
        for number, place in enumerate(places):
            if isinstance(place, RemotePath):
                paths.append(_fetch(place, folder / str(number), progress))
            else:
                paths.append(place)
        named = dict(zip(paths, places, strict=True))
        with _told_by_address(named):
            yield tuple(paths)


@contextmanager
def local_folder(
    folder: RemotePath, names: Sequence[str], beside: Path, progress: Progress = ignore_progress
) -> Iterator[Path]:
    """A folder on this machine, of the same name, with copies of some objects of another.

    Args:
        folder: where they lie.
        names: of the objects.
        beside: as for `local_copies`.
        progress: told how many bytes of an object are here.

    Raises:
        UserError: an object cannot be had.
    """
    bucket = Bucket(folder)
    with _folder(beside) as above:
        copies = above / folder.name
        copies.mkdir()
        for name in names:
            bucket.get(folder / name, copies / name, progress)
        with _told_by_address({copies: folder}):
            yield copies


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """A folder for files that are on their way to object storage, removed at the end.

    Args:
        beside: as for `local_copies`.
    """
    with _folder(beside) as folder:
        yield folder


def sweep_copies(folder: Path) -> None:
    """Remove copies that a process which was killed left in a folder."""
    for lock in folder.glob(f"{_PREFIX}*{_LOCK}"):
        held = FileLock(lock)
        try:
            held.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
        held.release()


def _fetch(place: RemotePath, folder: Path, progress: Progress) -> Path:
    bucket = Bucket(place)
    if bucket.is_folder(place):
        raise UserError(f"{place}: is a folder; name the objects in it")
    folder.mkdir()
    # The name stays, as it tells the format and is kept with the period.
    bucket.get(place, folder / place.name, progress)
    return folder / place.name


@contextmanager
def _folder(beside: Path) -> Iterator[Path]:
    """A new folder, and a lock beside it that tells that somebody uses it."""
    home = next(one for one in (beside, *beside.absolute().parents) if one.is_dir())
    sweep_copies(home)
    folder = home / f"{_PREFIX}{uuid.uuid4().hex}"
    lock = FileLock(folder.with_suffix(_LOCK))
    try:
        lock.acquire(timeout=0)
        folder.mkdir()
    except OSError as error:
        raise StorageUnavailable(
            f"{home}: cannot be written ({error.strerror}); it takes copies of what lies on object "
            "storage"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(_LOCK).unlink(missing_ok=True)
        lock.release()


@contextmanager
def _told_by_address(named: dict[Path, Place]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        text = str(error)
        for path, place in named.items():
            text = text.replace(str(path), str(place))
        if text == str(error):
            raise
        raise type(error)(text) from error


class OutputFolder(Protocol):
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


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def names(self) -> list[str]:
        """See `OutputFolder`."""
        if self.place.exists() and not self.place.is_dir():
            raise UserError(f"{self.place}: is a file; name a folder")
        return sorted(path.name for path in self.place.glob("*"))

    def open(self, name: str) -> Any:
        """See `OutputFolder`."""
        return self.place / name

    def new(self, name: str) -> Path:
        """See `OutputFolder`."""
        self.place.mkdir(parents=True, exist_ok=True)
        return self.place / f".{name}.partial"

    def put(self, written: Path, name: str) -> None:
        """See `OutputFolder`; it is on the disk afterwards."""
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(self.place / name)
        sync_folder(self.place)

    def remove(self, name: str) -> None:
        """See `OutputFolder`."""
        (self.place / name).unlink()


class RemoteFolder:
    """A folder on object storage; files are written here first."""

    def __init__(self, place: RemotePath, room: Path) -> None:
        self.place = place
        self._room = room
        self._bucket = Bucket(place)

    def names(self) -> list[str]:
        """See `OutputFolder`."""
        return sorted(one.place.name for one in self._bucket.list(self.place))

    def open(self, name: str) -> Any:
        """See `OutputFolder`."""
        return self._bucket.open(self.place / name)

    def new(self, name: str) -> Path:
        """See `OutputFolder`."""
        return self._room / name

    def put(self, written: Path, name: str) -> None:
        """See `OutputFolder`."""
        self._bucket.put(written, self.place / name)

    def remove(self, name: str) -> None:
        """See `OutputFolder`."""
        self._bucket.remove(self.place / name)


@contextmanager
def open_folder(place: Place, beside: Path) -> Iterator[OutputFolder]:
    """A folder to write to.

    Args:
        place: of the folder.
        beside: a folder here, where files that go to object storage are made.

    Raises:
        UserError: its bucket cannot be reached.
    """
    if isinstance(place, Path):
        yield LocalFolder(place)
        return
    with temporary_folder(beside) as room:
        yield RemoteFolder(place, room)
