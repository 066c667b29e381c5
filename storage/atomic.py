"""Atomic writes: a temporary file next to the target, synced to the disk and renamed.

After a crash there is the old file, the new one or none, never a part of one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, temporary: Path | None = None, *, sync: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which replaces `path` at the end.

    If anything raises, the temporary file is removed and `path` stays as it was.

    `temporary` is another path in the same folder, for a file that only one process at a time
    writes; by default every process has its own, and `sweep_temporary` removes those that killed
    processes left. With `sync` the file survives a power failure.

    Raises:
        OSError: the disk refuses the file.
    """
    part = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield part
        if sync:
            commit(part, path)
        else:
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def commit(written: Path, path: Path) -> None:
    """Sync a written file, replace `path` in the same folder by it, and sync the folder."""
    with written.open("r+b") as file:
        os.fsync(file.fileno())
    written.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write bytes to a file atomically; the older one stays if the disk raises an `OSError`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; only POSIX can open folders, elsewhere do nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_temporary(folder: Path, suffix: str) -> None:
    """Remove temporary files of killed processes; nobody may be writing to the folder.

    `suffix` is the common ending of the final names, such as `.safetensors`.
    """
    for left in folder.glob(f".*{suffix}.*"):
        left.unlink(missing_ok=True)
