"""Errors that a user can cause, and the sentences for errors of DuckDB and the disk.

DuckDB is imported inside functions, since every command imports this file and few open a store.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_DAMAGE_WORDS = ("Corrupt", "Could not read")
_DISK_WORDS = ("Could not write", "No space left", "Disk quota", "Read-only file system")
# The three headers before the first block.
_HEADER_BYTES = 3 * 4096


class UserError(Exception):
    """A mistake outside the program: one line with what is wrong, where, and what to do."""


class StorageUnavailable(UserError):  # noqa: N818 - a UserError by another name
    """A store, its disk or object storage fails now and may work at another time."""


class MemoryLimitExceeded(UserError):  # noqa: N818 - a UserError by another name
    """A fit needs more than `--memory-limit`."""


class OlderSchema(UserError):  # noqa: N818 - a UserError by another name
    """The store was written by an older program; opening it for writing upgrades it."""


def is_locked(error: "duckdb.Error") -> bool:
    """Return True if another process has the file open."""
    return "Could not set lock" in str(error)


def raise_fault(path: Path | None, error: BaseException | None) -> None:
    """Raise an error of the file or the disk as one line; do nothing for any other error.

    DuckDB words such errors but has no class for them: a full disk may come as an error of the
    transaction. After one inside a transaction, every later error only reports that it is aborted,
    so the first error of the chain counts.

    Raises:
        StorageUnavailable: the file is damaged, or the disk takes no more.
    """
    import duckdb

    first = error
    while isinstance(first, duckdb.Error):
        if isinstance(first, duckdb.IOException) or _is_damage(first) or _is_disk(first):
            raise StorageUnavailable(f"{path}: {explain(first)}") from error
        first = first.__context__


def check_length(path: Path, connection: "duckdb.DuckDBPyConnection") -> None:
    """Check that a file is long enough for the blocks in use.

    DuckDB checks a block only when it is read: it would read the rest of a truncated file, and
    write new blocks behind the gap. Missing blocks at the end may be free ones, so a file that is a
    few blocks too short is noticed only where one of them is read.

    Raises:
        StorageUnavailable: the file is too short.
    """
    needed = connection.execute(
        """SELECT block_size * used_blocks FROM pragma_database_size()
        WHERE database_name = current_database()"""
    ).fetchall()[0][0]
    missing = _HEADER_BYTES + needed - path.stat().st_size
    if missing > 0:
        raise StorageUnavailable(
            f"{path}: the file is damaged (at least {missing:,} bytes are missing at its end); "
            "put a copy in its place"
        )


def explain(error: "duckdb.Error") -> str:
    """Say in one sentence what is wrong and what to do, without the name of the file."""
    text = " ".join(str(error).split())
    if is_locked(error):
        return "another process has the store open; wait until it ends"
    if "different configuration" in text:
        return "open in this process already, once for reading and once for writing; close one"
    if "not a valid DuckDB database" in text:
        return "not a DuckDB file; name another file for the store"
    if _is_disk(error):
        return (
            f"cannot be written ({text[:200]}); what was finished before is kept: make room or "
            "mend the disk, and give the same command again"
        )
    if _is_damage(error):
        return f"the file is damaged ({text[:200]}); put a copy in its place"
    return f"cannot be opened as a store ({text[:200]}); check the path and its permissions"


def _is_disk(error: "duckdb.Error") -> bool:
    return any(words in str(error) for words in _DISK_WORDS)


def _is_damage(error: "duckdb.Error") -> bool:
    """Return True for errors that a sound program and a sound file never cause."""
    import duckdb

    kinds = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    return isinstance(error, kinds) or any(words in str(error) for words in _DAMAGE_WORDS)
