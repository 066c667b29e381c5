"""The store: one DuckDB file, opened, upgraded and closed."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.access import (
    WriterLock,
    copy_file,
    remove_file,
    remove_snapshot,
    snapshot_path,
    unfinished_path,
)
from perennial.storage.atomic import sync_folder
from perennial.storage.connect import (
    CONFIG,
    check_place,
    connect_reader,
    connect_writer,
    create_file,
    lock_for_writing,
)
from perennial.storage.errors import StorageUnavailable, UserError, raise_fault
from perennial.storage.migrations import check_current, migrate
from perennial.storage.opening import resolve_store
from perennial.storage.results.artifacts import models_folder


class Store:
    """An open store.

    Attributes:
        path: the DuckDB file, not a link to it; `None` in memory.
        connection: for queries; `transaction` for changes.
        discard: make `close` remove the file, because nothing was stored.
        models_folder: folder of the files of fitted models, `<store>.models` next to the store.
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
        """Open a store, creating or upgrading it if needed.

        Args:
            path: the file, or ":memory:".
            read_only: change nothing; several processes may then read at once. While a writer has
                the file open, its snapshot is read, if there is one.
            wait: seconds to wait for another writer to end.

        Raises:
            UserError: the file is locked, unreadable, no store, or from a newer program; or the
                path is a link to nothing.
        """
        if str(path) == ":memory:":
            connection = duckdb.connect(":memory:", config=CONFIG)
            folder = Path(tempfile.mkdtemp(prefix="perennial-models-"))
            store = cls(None, connection, folder)
        else:
            path = resolve_store(Path(path))
            check_place(path, read_only)
            lock = None if read_only else lock_for_writing(path, wait)
            try:
                if lock is not None and not path.exists():
                    create_file(path)
                connection = connect_reader(path) if lock is None else connect_writer(path)
            except BaseException:
                if lock is not None:
                    lock.release(remove=not path.exists())
                raise
            store = cls(path, connection, models_folder(path), lock)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if read_only:
                check_current(connection)
            else:
                migrate(connection)
                if store.path is not None and unfinished_path(store.path).exists():
                    from perennial.storage.log.rewrite import finish_rewriting

                    finish_rewriting(store)
        except UserError as error:
            store.close()
            raise type(error)(f"{path}: {error}") from None
        except BaseException as error:
            store.close()
            raise_fault(store.path, error)
            raise
        return store

    def close(self) -> None:
        """Close the file; a store in memory is deleted together with its models."""
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
        """Give readers a copy of the store as it is now; do nothing for a store in memory.

        There must be no open transaction. If there is no room for a copy, readers must wait for the
        end of the writer.
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
        """Replace the file of this store by that of a closed one in the same folder.

        Raises:
            UserError: the file cannot be replaced; everything is as before.
        """
        if self.path is None:
            raise ValueError("a store in memory has no file to replace")
        self.connection.execute("CHECKPOINT")
        self.connection.close()
        try:
            # DuckDB would replay an old log on top of the new file.
            for log in (self.path, new):
                if log.with_name(log.name + ".wal").exists():
                    raise StorageUnavailable(f"{log}: its write-ahead log did not close; try again")
            # Users who were removed from the new file must not remain in a copy of the old one.
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
        """Replace the snapshot by a copy of the closed file, if there is room for it."""
        try:
            copy_file(path, snapshot_path(path))
        except UserError:
            remove_snapshot(path)

    def _reconnect(self, path: Path) -> None:
        self.connection = connect_writer(path)
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
            # Any query may fail: DuckDB verifies the checksum of a block only when it reads it.
            raise_fault(self.path, error)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small result; a partly read result would block the connection."""
        rows: list[tuple[Any, ...]] = self.connection.execute(query, list(parameters)).fetchall()
        return rows

    def arrays(self, query: str, parameters: Sequence[object] = ()) -> dict[str, NDArray[Any]]:
        """Return a result without nulls as one `(n,)` array for each column.

        Without Arrow, whose conversions import pandas if it is installed.
        """
        found: dict[str, NDArray[Any]] = self.connection.execute(
            query, list(parameters)
        ).fetchnumpy()
        return found

    def table(
        self,
        query: str,
        parameters: Sequence[object] = (),
        *,
        inputs: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Return the result of a SELECT as an Arrow table; `inputs` are tables that it may name.

        Scans run on all threads, so add ORDER BY if order matters.
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
        """Append Arrow rows in order, by column names, to a table of the program's own naming."""
        self.connection.register("incoming", table)
        try:
            self.connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming").fetchall()
        finally:
            self.connection.unregister("incoming")

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commit everything inside, or roll all of it back if an exception leaves.

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
