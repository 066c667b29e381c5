"""Files next to a store: the lock of its writer, the snapshot for readers, and temporary files.

DuckDB locks its own file too, but only while it is open, and a command that rewrites the store
closes it in between.
"""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from perennial.storage.atomic import replacing
from perennial.storage.errors import StorageUnavailable, UserError


class WriterLock:
    """The lock of the one writer of a store; the end of the process releases it too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(lock_path(path))

    def acquire(self, wait: float) -> None:
        """Take the lock; wait so many seconds for another writer, infinity without limit.

        Raises:
            StorageUnavailable: another process has the lock, or the folder cannot be written.
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
        """Release the lock, and remove its file if no store was made."""
        if remove:
            lock_path(self._path).unlink(missing_ok=True)
        self._lock.release()


def lock_path(path: Path) -> Path:
    """Return the path of a store's lock; the empty file stays, so that all waiters share it."""
    return path.with_name(path.name + ".lock")


def snapshot_path(path: Path) -> Path:
    """Return the path of a store's snapshot."""
    return path.with_name(path.name + ".snapshot")


def rewrite_path(path: Path) -> Path:
    """Return the path of the new file that is to replace a store."""
    return path.with_name(path.name + ".rewrite")


def unfinished_path(path: Path) -> Path:
    """Return the path of a mark: the store is written anew, files of the old log may remain."""
    return path.with_name(path.name + ".rewriting")


def copy_file(source: Path, target: Path) -> None:
    """Copy a store's file, which nobody may be changing, and replace `target` atomically.

    Raises:
        UserError: the copy cannot be written.
    """
    try:
        with replacing(target, _part(target), sync=False) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); check the disk") from None


def remove_snapshot(path: Path) -> None:
    """Remove the snapshot of a store, and an unfinished one."""
    for left in (snapshot_path(path), _part(snapshot_path(path))):
        left.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a store's file, its write-ahead log, DuckDB's temporary files and the lock."""
    remove_spilled(path)
    for left in (path, path.with_name(path.name + ".wal"), lock_path(path)):
        left.unlink(missing_ok=True)


def remove_spilled(path: Path) -> None:
    """Remove what DuckDB wrote next to a store for lack of memory before it was killed."""
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")
