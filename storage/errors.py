"""Errors that a user can cause."""

from pathlib import Path

import duckdb


class UserError(Exception):
    """A mistake outside the program: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with 1.
    """


class StorageUnavailable(UserError):  # noqa: N818 - a UserError by another name
    """A store, its disk or object storage does not do what it is asked; at another time it may."""


class OlderSchema(UserError):  # noqa: N818 - a UserError by another name
    """The store was written by an older program; opening it for writing upgrades it."""


# Those that a sound program and a sound file never meet.
_DAMAGE = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
_DAMAGE_WORDS = ("Corrupt", "Could not read")
# The three headers before the first block.
_HEADER_BYTES = 3 * 4096
_DISK_WORDS = ("Could not write", "No space left", "Disk quota", "Read-only file system")


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process has the file."""
    return "Could not set lock" in str(error)


def raise_fault(path: Path | None, error: BaseException | None) -> None:
    """Raise what is the fault of the file or the disk as one line; do nothing for other errors.

    DuckDB has words for such errors, but no class: a full disk may be an error of the transaction.
    And once one is met inside a transaction, all that is cleaned up says only that this is aborted.

    Args:
        path: the store's file.
        error: what was raised, perhaps while another error was handled.

    Raises:
        StoreFault: the file is damaged, or the disk takes no more.
    """
    first = error
    while isinstance(first, duckdb.Error):
        if isinstance(first, (duckdb.IOException, *_DAMAGE)) or any(
            words in str(first) for words in _DAMAGE_WORDS + _DISK_WORDS
        ):
            raise StorageUnavailable(f"{path}: {explain(first)}") from error
        first = first.__context__


def check_length(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """See that a file is long enough for the blocks that are in use.

    DuckDB looks at a block when it is read: of a file that was cut short it would read the rest,
    and write new blocks behind the gap. Blocks at the end may lack if they are free, so a cut of
    few blocks shows only where one of them is read.

    Raises:
        StoreFault: it is too short.
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


def explain(error: duckdb.Error) -> str:
    """What is wrong and what to do, without the name of the file."""
    text = " ".join(str(error).split())
    if is_locked(error):
        return "another process has the store open; wait until it ends"
    if "different configuration" in text:
        return "open in this process already, once for reading and once for writing; close one"
    if "not a valid DuckDB database" in text:
        return "not a DuckDB file; name another file for the store"
    if any(words in text for words in _DISK_WORDS):
        return (
            f"cannot be written ({text[:200]}); what was finished before is kept: make room or "
            "mend the disk, and give the same command again"
        )
    if isinstance(error, _DAMAGE) or any(words in text for words in _DAMAGE_WORDS):
        return f"the file is damaged ({text[:200]}); put a copy in its place"
    return f"cannot be opened as a store ({text[:200]}); check the path and its permissions"
