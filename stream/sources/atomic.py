"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

Result = TypeVar("Result")


def replace_file(path: Path, write: Callable[[IO[bytes]], Result]) -> Result:
    """Write a file under a name of its own, then give it its name in one step.

    Args:
        path: the file; its folder must exist.
        write: called with the open file.

    Returns:
        What `write` returns. If it raises, `path` is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        with temporary.open("wb") as out:
            result = write(out)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return result
