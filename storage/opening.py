"""Ways to open a store: for reading, for a change, or for long work next to readers."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.errors import OlderSchema, UserError

if TYPE_CHECKING:
    from perennial.storage.store import Store

# `Store` is imported in the functions: a mistyped name is refused before DuckDB is imported.


def resolve_store(path: Path) -> Path:
    """Follow a symbolic link to the file of a store.

    Lock, snapshot and models are next to the real file, and a rewrite replaces it, not the link.

    Raises:
        UserError: there is no file at the end of the link.
    """
    if not path.is_symlink():
        return path
    if not path.exists():
        raise UserError(
            f"{path}: a link to {path.readlink()}, which does not exist; mend the link, or name "
            "another file"
        )
    return path.resolve()


def require_store(path: Path, command: str = "`perennial replay` or `ingest`") -> None:
    """Check that a store exists; the message of the `UserError` names commands that make one."""
    if not path.exists():
        raise UserError(f"{path}: no such store; make one with {command}")


def open_existing(path: Path, wait: float = 0.0) -> "Store":
    """Open an existing store for writing, and upgrade an older one.

    Raises:
        UserError: the file does not exist or is no store, or another writer has it after `wait`
            seconds.
    """
    require_store(path)
    from perennial.storage.store import Store

    return Store.open(path, wait=wait)


def open_for_reading(path: Path) -> "Store":
    """Open an existing store read-only; other readers and a writer may have it open too.

    Raises:
        UserError: the file does not exist, or is no store.
    """
    require_store(path)
    from perennial.storage.store import Store

    try:
        return Store.open(path, read_only=True)
    except OlderSchema:
        Store.open(path).close()
        return Store.open(path, read_only=True)


@contextmanager
def open_to_serve_readers(path: Path, wait: float = 0.0) -> Iterator["Store"]:
    """Open an existing store for long work, as `open_existing`; readers see it as it was before."""
    with open_existing(path, wait) as store:
        store.write_snapshot()
        yield store


@contextmanager
def open_for_writing(path: Path, wait: float = 0.0) -> Iterator["Store"]:
    """Open or create a store for writing; readers see it as it was before.

    A new store that stays empty leaves no file.

    Raises:
        UserError: the file is no store or cannot be written, or `wait` seconds were not enough.
    """
    import duckdb

    from perennial.storage.log.periods import list_periods
    from perennial.storage.results.publications import read_live
    from perennial.storage.store import Store

    is_new = not path.exists()
    with Store.open(path, wait=wait) as store:
        try:
            if list_periods(store):
                store.write_snapshot()
            yield store
        finally:
            if is_new:
                # Checked while the lock is held: another process may be waiting to fill the store.
                with suppress(duckdb.Error):
                    store.discard = not list_periods(store) and read_live(store) is None
