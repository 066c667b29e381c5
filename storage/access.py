"""One writer at a time: a lock beside the store, held for as long as a command may change it.

DuckDB locks its own file too, but only while it is open, and a command that writes the file anew
closes it in between.
"""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from perennial.storage.atomic import replacing
from perennial.storage.errors import StorageUnavailable, UserError

_LOCK_SUFFIX = ".lock"


class WriterLock:
    """The right to change a store, given back by `release` or by the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(lock_path(path))

    def acquire(self, wait: float) -> None:
        """Take the lock.

        Args:
            wait: seconds to wait for another writer to end; 0 not at all, infinity for ever.

        Raises:
            StoreFault: another process has it, or the folder cannot be written.
        """
        try:
            self._lock.acquire(timeout=-1 if wait == float("inf") else wait)
        except Timeout:
            raise StorageUnavailable(
                f"{self._path}: another process is writing to the store; try again when it has "
                "ended, or let this command --wait for it"
            ) from None
        except OSError as error:
            raise StorageUnavailable(
                f"{lock_path(self._path)}: cannot be written ({error.strerror}); check the folder "
                "and its permissions"
            ) from error

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back.

        Args:
            remove: its file too, where there is no store after all.
        """
        if remove:
            lock_path(self._path).unlink(missing_ok=True)
        self._lock.release()


def lock_path(path: Path) -> Path:
    """Where the lock of a store lies; the empty file stays, so that all who wait see the same."""
    return path.with_name(path.name + _LOCK_SUFFIX)


_SNAPSHOT_SUFFIX = ".snapshot"


def snapshot_path(path: Path) -> Path:
    """Where the snapshot of a store lies."""
    return path.with_name(path.name + _SNAPSHOT_SUFFIX)


def copy_file(source: Path, target: Path) -> None:
    """Copy a store's file that nobody changes meanwhile; `target` is replaced as a whole.

    Raises:
        UserError: the copy cannot be written.
    """
    try:
        with replacing(target, target.with_name(target.name + ".part"), sync=False) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); check the disk") from None


def remove_snapshot(path: Path) -> None:
    """Remove the snapshot of a store, and a part of one."""
    for left in (
        snapshot_path(path),
        snapshot_path(path).with_name(f"{path.name}{_SNAPSHOT_SUFFIX}.part"),
    ):
        left.unlink(missing_ok=True)
