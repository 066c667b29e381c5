"""Copies of what lies on object storage, here for as long as they are read."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from storage.errors import StoreFault, UserError
from storage.progress import Progress, ignore_progress
from storage.remote import Bucket, Place, Remote

_PREFIX = ".perennial-fetched-"
_LOCK = ".lock"


@contextmanager
def fetched(
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
    if not any(isinstance(place, Remote) for place in places):
        yield tuple(place for place in places if isinstance(place, Path))
        return
    with _folder(beside) as folder:
        paths = []
        for number, place in enumerate(places):
            if isinstance(place, Remote):
                paths.append(_fetch(place, folder / str(number), progress))
            else:
                paths.append(place)
        named = dict(zip(paths, places, strict=True))
        with _told_by_address(named):
            yield tuple(paths)


@contextmanager
def fetched_folder(
    folder: Remote, names: Sequence[str], beside: Path, progress: Progress = ignore_progress
) -> Iterator[Path]:
    """A folder on this machine, of the same name, with copies of some objects of another.

    Args:
        folder: where they lie.
        names: of the objects.
        beside: as for `fetched`.
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
def room_beside(beside: Path) -> Iterator[Path]:
    """A folder for files that are on their way to object storage, removed at the end.

    Args:
        beside: as for `fetched`.
    """
    with _folder(beside) as folder:
        yield folder


def sweep_fetched(folder: Path) -> None:
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


def _fetch(place: Remote, folder: Path, progress: Progress) -> Path:
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
    sweep_fetched(home)
    folder = home / f"{_PREFIX}{uuid.uuid4().hex}"
    lock = FileLock(folder.with_suffix(_LOCK))
    try:
        lock.acquire(timeout=0)
        folder.mkdir()
    except OSError as error:
        raise StoreFault(
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
