"""Connections to a store's DuckDB file, for its one writer or for readers."""

import time
from pathlib import Path

import duckdb

from perennial.storage.access import (
    WriterLock,
    remove_file,
    remove_snapshot,
    remove_spilled,
    rewrite_path,
    snapshot_path,
)
from perennial.storage.atomic import sync_folder
from perennial.storage.errors import StorageUnavailable, UserError, check_length, explain, is_locked
from perennial.storage.objects.copies import sweep_copies
from perennial.storage.opening import require_store

# Nothing is downloaded at run time: only what DuckDB's wheel contains is used.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "true",
}

_READER_PATIENCE = 120.0
"""Seconds that a writer waits for readers to close the file; the slowest restores a model."""

_WRITER_PATIENCE = 2.0
"""Seconds that a reader waits until a writer's file is free, or its snapshot exists."""


def check_place(path: Path, read_only: bool) -> None:
    """Check the path of a store before anything is created; `UserError` if it cannot be one."""
    if read_only:
        require_store(path, "`perennial ingest`")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file for the store")


def lock_for_writing(path: Path, wait: float) -> WriterLock:
    """Become the writer of a store within `wait` seconds, and remove what a killed one left."""
    lock = WriterLock(path)
    lock.acquire(wait)
    remove_snapshot(path)
    remove_spilled(path)
    sweep_copies(path.parent)
    for unfinished in (rewrite_path(path), rewrite_path(rewrite_path(path))):
        remove_file(unfinished)
    return lock


def create_file(path: Path) -> None:
    """Create an empty DuckDB file atomically: an unfinished one could never be opened again."""
    new = rewrite_path(path)
    try:
        _connect(new, read_only=False).close()
        new.replace(path)
        sync_folder(path.parent)
    except duckdb.Error as error:
        raise StorageUnavailable(f"{path}: {explain(error)}") from error
    except OSError as error:
        raise StorageUnavailable(f"{path}: cannot be made ({error.strerror})") from error


def connect_writer(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a store for writing, for a process that has its lock; may be `StorageUnavailable`."""
    deadline = time.monotonic() + _READER_PATIENCE
    while True:
        try:
            connection = _connect(path, read_only=False)
        except duckdb.Error as error:
            # Only readers can have it locked: this process holds the lock of writers.
            if not is_locked(error) or time.monotonic() > deadline:
                raise StorageUnavailable(f"{path}: {explain(error)}") from error
        else:
            return connection
        time.sleep(0.05)


def connect_reader(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a store for reading or, while a writer has it, its snapshot.

    Either file may be replaced at any moment, so an error counts only if the file is still the
    same.

    Raises:
        UserError: neither file can be opened.
    """
    deadline = time.monotonic() + _WRITER_PATIENCE
    fault: Exception = FileNotFoundError(path)
    while True:
        for place in (path, snapshot_path(path)):
            before = _identity(place)
            try:
                if before is not None:
                    return _connect(place, read_only=True)
            except (duckdb.Error, UserError, OSError) as error:
                locked = isinstance(error, duckdb.Error) and is_locked(error)
                retry = locked or isinstance(error, FileNotFoundError)
                if not retry and _identity(place) == before:
                    if isinstance(error, duckdb.Error):
                        raise StorageUnavailable(f"{path}: {explain(error)}") from error
                    raise
                fault = error
        if time.monotonic() > deadline:
            words = explain(fault) if isinstance(fault, duckdb.Error) else str(fault)
            raise StorageUnavailable(f"{path}: {words}") from fault
        time.sleep(0.05)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    # A new file may get the inode number of a removed one.
    return status.st_ino, status.st_ctime_ns


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    # Absolute: some names, like "md:log", have a meaning of their own in DuckDB.
    connection = duckdb.connect(str(path.absolute()), read_only=read_only, config=CONFIG)
    try:
        check_length(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection
