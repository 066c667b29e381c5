"""A copy of the store for those who read while a writer works: DuckDB lets nobody in beside one.

It shows the store as it was when the writer began or last published. The writer removes it when it
ends, and every writer begins by removing what a killed one left.
"""

import os
import shutil
from pathlib import Path

from storage.errors import UserError

SUFFIX = ".snapshot"


def snapshot_path(path: Path) -> Path:
    """Where the snapshot of a store lies."""
    return path.with_name(path.name + SUFFIX)


def copy_file(source: Path, target: Path) -> None:
    """Copy a store's file that nobody changes meanwhile; `target` is replaced as a whole.

    Raises:
        UserError: the copy cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{target}: cannot be written ({error.strerror}); check the disk") from None


def remove_snapshot(path: Path) -> None:
    """Remove the snapshot of a store, and a part of one."""
    for left in (snapshot_path(path), snapshot_path(path).with_name(f"{path.name}{SUFFIX}.part")):
        left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; elsewhere than on POSIX a folder cannot be opened."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
