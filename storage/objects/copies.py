"""Temporary copies of objects on this machine, and folders to write to, local or remote."""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from perennial.storage.atomic import replacing
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import StorageUnavailable, UserError
from perennial.storage.objects.bucket import Bucket, Place, RemotePath
from perennial.storage.reading.formats import partition_folders

_PREFIX = ".perennial-fetched-"
_LOCK = ".lock"


@contextmanager
def local_copies(
    places: Sequence[Place], near: Path, progress: Progress = ignore_progress
) -> Iterator[tuple[Path, ...]]:
    """Yield local paths of files: their own, or those of temporary copies of objects.

    Errors inside show the address of a copy instead of its path. Copies are removed at the end.
    Those of a killed process are removed by the next process that copies, or that writes to a store
    in the same folder.

    Copies are in the folder `near` or, if that does not exist, in the nearest parent that does.
    Progress is in bytes.

    Raises:
        UserError: an object cannot be copied.
    """
    if not any(isinstance(place, RemotePath) for place in places):
        yield tuple(place for place in places if isinstance(place, Path))
        return
    with _temporary_folder(near) as folder:
        paths = []
        for number, place in enumerate(places):
            if isinstance(place, Path):
                paths.append(place)
                continue
            bucket = Bucket(place)
            if bucket.is_folder(place):
                raise UserError(f"{place}: is a folder; name the objects in it")
            # The name is kept: its suffix is that of the format, and it is stored with the period.
            above = partition_folders(place.path.split("/")[:-1])
            paths.append(Path(folder, str(number), *above, place.name))
            paths[-1].parent.mkdir(parents=True)
            bucket.get(place, paths[-1], progress)
        with errors_by_address(dict(zip(paths, places, strict=True))):
            yield tuple(paths)


@contextmanager
def local_folder(
    folder: RemotePath, names: Sequence[str], near: Path, progress: Progress = ignore_progress
) -> Iterator[Path]:
    """Yield a local folder with copies of paths `names` below a remote one; see `local_copies`."""
    bucket = Bucket(folder)
    with _temporary_folder(near) as parent:
        copies = parent / folder.name
        copies.mkdir()
        for name in names:
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            bucket.get(folder / name, copies / name, progress)
        with errors_by_address({copies: folder}):
            yield copies


def sweep_copies(folder: Path) -> None:
    """Remove copies that killed processes left in a folder."""
    for path in folder.glob(f"{_PREFIX}*{_LOCK}"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.release()


class LocalFolder:
    """A folder to write files into, on this machine."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def names(self) -> list[str]:
        """Return the sorted names of its files, none if it is absent; `UserError` on failure."""
        if self.place.exists() and not self.place.is_dir():
            raise UserError(f"{self.place}: is a file; name a folder")
        return sorted(path.name for path in self.place.glob("*"))

    def open(self, name: str) -> Any:
        """Return a file of the folder as pyarrow can read it; `OSError` if it cannot be read."""
        return self.place / name

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path to write; which gets its name at the end, if all went well.

        Raises:
            OSError: the disk refuses the file.
            UserError: the bucket refuses it.
        """
        self.place.mkdir(parents=True, exist_ok=True)
        with replacing(self.place / name, self.place / f".{name}.partial") as temporary:
            yield temporary

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.place / name).unlink()


class BucketFolder:
    """A folder to write files into, on object storage; methods as of `LocalFolder`."""

    def __init__(self, place: RemotePath, temporary: Path) -> None:
        """Connect to the bucket; `temporary` is a local folder for files that are being written."""
        self.place = place
        self._temporary = temporary
        self._bucket = Bucket(place)

    def names(self) -> list[str]:
        """Return the sorted names of its files."""
        return sorted(one.place.name for one in self._bucket.list(self.place))

    def open(self, name: str) -> Any:
        """Open a file for pyarrow."""
        return self._bucket.open(self.place / name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path to write; the file is uploaded at the end, if all went well."""
        path = self._temporary / name
        try:
            yield path
            self._bucket.put(path, self.place / name)
        finally:
            path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._bucket.remove(self.place / name)


OutputFolder = LocalFolder | BucketFolder


@contextmanager
def open_folder(place: Place, near: Path) -> Iterator[OutputFolder]:
    """Open a folder to write to; it need not exist.

    Files that go to object storage are written into the local folder `near` first.

    Raises:
        UserError: the bucket cannot be reached.
    """
    if isinstance(place, Path):
        yield LocalFolder(place)
        return
    with _temporary_folder(near) as temporary:
        yield BucketFolder(place, temporary)


@contextmanager
def _temporary_folder(near: Path) -> Iterator[Path]:
    """Yield a new folder, locked while it is in use and removed at the end."""
    parent = next(one for one in (near, *near.absolute().parents) if one.is_dir())
    sweep_copies(parent)
    folder = parent / f"{_PREFIX}{uuid.uuid4().hex}"
    lock = FileLock(folder.with_suffix(_LOCK))
    try:
        lock.acquire(timeout=0)
        folder.mkdir()
    except OSError as error:
        raise StorageUnavailable(
            f"{parent}: cannot be written ({error.strerror}); it takes copies of what lies on "
            "object storage"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(_LOCK).unlink(missing_ok=True)
        lock.release()


@contextmanager
def errors_by_address(places: Mapping[Path, Place | str]) -> Iterator[None]:
    """Replace paths of copies by their addresses, or other names, in the messages of errors."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for path, place in places.items():
            text = text.replace(str(path), str(place))
        if text == str(error):
            raise
        raise type(error)(text) from error
