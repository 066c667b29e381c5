"""The store: one DuckDB file, opened, upgraded and closed."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from perennial.storage.access import (
    WriterLock,
    copy_file,
    lock_path,
    remove_snapshot,
    snapshot_path,
)
from perennial.storage.atomic import sync_folder
from perennial.storage.errors import (
    OlderSchema,
    StorageUnavailable,
    UserError,
    check_length,
    explain,
    is_locked,
    raise_fault,
)
from perennial.storage.migrations import MIGRATIONS, check_not_newer, migrate, schema_version
from perennial.storage.objects.copies import sweep_copies
from perennial.storage.results.artifacts import models_folder

# Nothing is fetched at run time: what DuckDB's wheel does not carry is not used.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "true",
}

_READER_PATIENCE = 120.0
"""Seconds that a writer waits for readers to close the file; the longest restores a model."""

_WRITER_PATIENCE = 2.0
"""Seconds that a reader tries to find the file free, or its snapshot there, beside a writer."""

_REWRITE_SUFFIX = ".rewrite"


class Store:
    """An open store.

    Attributes:
        path: the DuckDB file; None in memory.
        connection: for queries; `transaction` for changes.
        discard: whether `close` removes the file, which holds nothing.
        models_folder: where the files of fitted models lie, `<store>.models` beside the store.
    """

    def __init__(
        self,
        path: Path | None,
        connection: duckdb.DuckDBPyConnection,
        models_folder: Path,
        lock: WriterLock | None = None,
    ) -> None:
        self.path = path
        self.connection = connection
        self.models_folder = models_folder
        self.discard = False
        self._lock = lock

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False, wait: float = 0.0) -> Self:
        """Open a store, creating or upgrading it where needed.

        Args:
            path: the file, or ":memory:".
            read_only: change nothing; several processes may then read at once. While a writer has
                the file its snapshot is read, if there is one.
            wait: seconds to wait for another writer to end.

        Raises:
            UserError: the file is locked, unreadable, no store, or from a newer program.
        """
        if str(path) == ":memory:":
            connection = duckdb.connect(":memory:", config=_CONFIG)
            folder = Path(tempfile.mkdtemp(prefix="perennial-models-"))
            store = cls(None, connection, folder)
        else:
            path = Path(path)
            _check_place(path, read_only)
            lock = None if read_only else _lock(path, wait)
            try:
                if lock is not None and not path.exists():
                    _make_file(path)
                connection = _connect_reader(path) if lock is None else _connect_writer(path)
            except BaseException:
                if lock is not None:
                    lock.release(remove=not path.exists())
                raise
            store = cls(path, connection, models_folder(path), lock)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if read_only:
                _check_current(connection)
            else:
                migrate(connection)
        except UserError as error:
            store.close()
            raise type(error)(f"{path}: {error}") from None
        except BaseException as error:
            store.close()
            raise_fault(store.path, error)
            raise
        return store

    def close(self) -> None:
        """Close the file; a store in memory is gone, with its models."""
        self.connection.close()
        if self.path is None:
            shutil.rmtree(self.models_folder, ignore_errors=True)
        elif self._lock is not None:
            remove_snapshot(self.path)
            if self.discard:
                remove_file(self.path)
            self._lock.release(remove=not self.path.exists())
            self._lock = None

    def write_snapshot(self) -> None:
        """Show readers the store as it is now, outside a transaction; none for one in memory.

        Where there is no room for a copy readers are told to wait, as beside any writer.
        """
        if self.path is None:
            return
        # Closed: on POSIX a process that closes any handle of a file loses its locks on it.
        self.connection.close()
        try:
            self._copy_for_readers(self.path)
        finally:
            self._reconnect(self.path)

    def replace_file(self, new: Path) -> None:
        """Put another store's file in the place of this one, whose content is gone for good.

        Args:
            new: a closed store in the same folder, without a write-ahead log.

        Raises:
            UserError: the file cannot be replaced; everything is as before.
        """
        if self.path is None:
            raise ValueError("a store in memory has no file to replace")
        self.connection.execute("CHECKPOINT")
        self.connection.close()
        try:
            # DuckDB would play an old log on top of the new file.
            for log in (self.path, new):
                if log.with_name(log.name + ".wal").exists():
                    raise StorageUnavailable(f"{log}: its write-ahead log did not close; try again")
            # Whoever is gone from the new file must not stay in a copy of the old one.
            remove_snapshot(self.path)
            new.replace(self.path)
            sync_folder(self.path.parent)
            self._copy_for_readers(self.path)
        except OSError as error:
            raise StorageUnavailable(
                f"{self.path}: cannot be replaced ({error.strerror})"
            ) from error
        finally:
            self._reconnect(self.path)

    @staticmethod
    def _copy_for_readers(path: Path) -> None:
        """Put a copy of the closed file in the place of the last one, if there is room for it."""
        try:
            copy_file(path, snapshot_path(path))
        except UserError:
            remove_snapshot(path)

    def _reconnect(self, path: Path) -> None:
        self.connection = _connect_writer(path)
        self.connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        finally:
            # In whatever query DuckDB met it: a block is read, and its checksum looked at, late.
            raise_fault(self.path, error)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result; a result left half-read would block the connection."""
        found: list[tuple[Any, ...]] = self.connection.execute(query, list(parameters)).fetchall()
        return found

    def table(
        self,
        query: str,
        parameters: Sequence[object] = (),
        *,
        inputs: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """A result as an Arrow table.

        Args:
            query: a SELECT; add ORDER BY where order matters, scans run on all threads.
            parameters: values for its question marks.
            inputs: Arrow tables that it may name.
        """
        inputs = inputs or {}
        for name, table in inputs.items():
            self.connection.register(name, table)
        try:
            return self.connection.sql(query, params=list(parameters)).to_arrow_table()
        finally:
            for name in inputs:
                self.connection.unregister(name)

    def insert(self, name: str, table: pa.Table) -> None:
        """Append Arrow rows to a table, in their order, by the names of the columns.

        Args:
            name: of the table; never from outside the program.
            table: the rows.
        """
        self.connection.register("incoming", table)
        try:
            self.connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming").fetchall()
        finally:
            self.connection.unregister("incoming")

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Everything inside is kept together, or nothing of it when an exception leaves.

        Raises:
            UserError: the disk is full, or the file cannot be written; nothing has changed.
        """
        self.connection.execute("BEGIN TRANSACTION")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            # A failed COMMIT has rolled back already.
            with suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")
            raise_fault(self.path, error)
            raise


def rewrite_path(path: Path) -> Path:
    """Where a store is written anew before it takes the place of the old one."""
    return path.with_name(path.name + _REWRITE_SUFFIX)


def remove_file(path: Path) -> None:
    """Remove a store's file, its write-ahead log, what DuckDB spilled, and its lock."""
    remove_spilled(path)
    for left in (path, path.with_name(path.name + ".wal"), lock_path(path)):
        left.unlink(missing_ok=True)


def remove_spilled(path: Path) -> None:
    """Remove what DuckDB wrote of a store beside it for want of memory, and a kill left there."""
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)


def _check_place(path: Path, read_only: bool) -> None:
    if read_only and not path.exists():
        raise UserError(f"{path}: no such store; make one with `perennial ingest`")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file for the store")


def _lock(path: Path, wait: float) -> WriterLock:
    """Become the writer, and remove what a killed one left half done."""
    lock = WriterLock(path)
    lock.acquire(wait)
    remove_snapshot(path)
    remove_spilled(path)
    sweep_copies(path.parent)
    for half_done in (rewrite_path(path), rewrite_path(rewrite_path(path))):
        remove_file(half_done)
    return lock


def _make_file(path: Path) -> None:
    """Make an empty file at once: of one that was killed while it is made nobody can read the rest.

    Raises:
        UserError: it cannot be made.
    """
    new = rewrite_path(path)
    try:
        _connect(new, read_only=False).close()
        new.replace(path)
        sync_folder(path.parent)
    except duckdb.Error as error:
        raise StorageUnavailable(f"{path}: {explain(error)}") from error
    except OSError as error:
        raise StorageUnavailable(f"{path}: cannot be made ({error.strerror})") from error


def _connect_writer(path: Path) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + _READER_PATIENCE
    while True:
        try:
            return _connect(path, read_only=False)
        except duckdb.Error as error:
            # Whoever has it is a reader: this process holds the lock of writers.
            if not is_locked(error) or time.monotonic() > deadline:
                raise StorageUnavailable(f"{path}: {explain(error)}") from error
        time.sleep(0.05)


def _connect_reader(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file or, beside a writer, its snapshot; each may be replaced at any moment."""
    deadline = time.monotonic() + _WRITER_PATIENCE
    fault: Exception = FileNotFoundError(path)
    while True:
        for place in (path, snapshot_path(path)):
            seen = _identity(place)
            try:
                if seen is not None:
                    return _connect(place, read_only=True)
            except (duckdb.Error, UserError, OSError) as error:
                locked = isinstance(error, duckdb.Error) and is_locked(error)
                gone = locked or isinstance(error, FileNotFoundError)
                if not gone and _identity(place) == seen:
                    if isinstance(error, duckdb.Error):
                        raise StorageUnavailable(f"{path}: {explain(error)}") from error
                    raise
                fault = error
        if time.monotonic() > deadline:
            words = explain(fault) if isinstance(fault, duckdb.Error) else str(fault)
            raise StorageUnavailable(f"{path}: {words}") from fault
        time.sleep(0.05)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at a place now; `None` where none does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    # A file that is removed leaves its number to the next one.
    return found.st_ino, found.st_ctime_ns


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    # Absolute: DuckDB gives some names, like "md:log", a meaning of their own.
    connection = duckdb.connect(str(path.absolute()), read_only=read_only, config=_CONFIG)
    try:
        check_length(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_current(connection: duckdb.DuckDBPyConnection) -> None:
    version = schema_version(connection)
    check_not_newer(version)
    if version < len(MIGRATIONS):
        raise OlderSchema(
            f"the store has the older schema {version}; open it once for writing to upgrade it"
        )
