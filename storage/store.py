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

from storage.errors import UserError
from storage.migrations import MIGRATIONS, check_not_newer, migrate, schema_version

# Nothing is fetched at run time: what DuckDB's wheel does not carry is not used.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "true",
}


class Store:
    """An open store.

    Attributes:
        path: the DuckDB file; None in memory.
        connection: for queries; `transaction` for changes.
        models_folder: where the files of fitted models lie, `<store>.models` beside the store.
    """

    def __init__(
        self, path: Path | None, connection: duckdb.DuckDBPyConnection, models_folder: Path
    ) -> None:
        self.path = path
        self.connection = connection
        self.models_folder = models_folder

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> Self:
        """Open a store, creating or upgrading it where needed.

        Args:
            path: the file, or ":memory:".
            read_only: change nothing; several processes may then read at once.

        Raises:
            UserError: the file is locked, unreadable, no store, or from a newer program.
        """
        if str(path) == ":memory:":
            connection = duckdb.connect(":memory:", config=_CONFIG)
            folder = Path(tempfile.mkdtemp(prefix="perennial-models-"))
            store = cls(None, connection, folder)
        else:
            path = Path(path)
            connection = _connect(path, read_only)
            store = cls(path, connection, path.with_name(path.name + ".models"))
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if read_only:
                _check_current(connection)
            else:
                migrate(connection)
        except UserError as error:
            store.close()
            raise UserError(f"{path}: {error}") from None
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file; a store in memory is gone, with its models."""
        self.connection.close()
        if self.path is None:
            shutil.rmtree(self.models_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
            if isinstance(error, duckdb.IOException):
                words = " ".join(str(error).split())[:200]
                raise UserError(
                    f"{self.path}: cannot be written ({words}); nothing was changed"
                ) from error
            raise


def _connect(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    if read_only and not path.exists():
        raise UserError(f"{path}: no such store; make one with `perennial ingest`")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file for the store")
    try:
        # Absolute: DuckDB gives some names, like "md:log", a meaning of their own.
        return duckdb.connect(str(path.absolute()), read_only=read_only, config=_CONFIG)
    except duckdb.Error as error:
        raise UserError(f"{path}: {_explain(error)}") from error


def _explain(error: duckdb.Error) -> str:
    text = " ".join(str(error).split())
    if "Could not set lock" in text:
        return "another process has the store open for writing; wait until it ends"
    if "different configuration" in text:
        return "open in this process already, once for reading and once for writing; close one"
    if "not a valid DuckDB database" in text:
        return "not a DuckDB file; name another file for the store"
    if "Corrupt database" in text:
        return f"the file is damaged ({text[:200]}); put a copy in its place"
    return f"cannot be opened as a store ({text[:200]}); check the path and its permissions"


def _check_current(connection: duckdb.DuckDBPyConnection) -> None:
    version = schema_version(connection)
    check_not_newer(version)
    if version < len(MIGRATIONS):
        raise UserError(
            f"the store has the older schema {version}; open it once for writing to upgrade it"
        )
