"""Compiled code kept between test runs: each has a folder of copies, for JAX takes no lock."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from benchmarks.compiling import share_compiled
from perennial.storage.compile_cache import cache_folder, describe_machine

MAX_BYTES = 512 * 2**20
"""Limit of each of the two folders; what was written first is deleted first."""


def use_kept_code(folder: Path) -> Callable[[], None]:
    """Compile into an empty folder with what earlier runs did; the result keeps what is new."""
    kept = cache_folder() / "tests" / describe_machine()
    variables = share_compiled(folder)
    if sys.dont_write_bytecode:
        # As in many container images: each process would compile all libraries anew.
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(kept / "python")
        variables["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    else:
        del variables["PYTHONPYCACHEPREFIX"]
    os.environ.update(variables)
    mine = Path(variables["JAX_COMPILATION_CACHE_DIR"])
    _copy(_entries(kept / "jax"), mine)
    return lambda: _keep(mine, kept)


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*-cache") if path.is_file()]


def _copy(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        # Another run may have deleted it as too old.
        with suppress(FileNotFoundError):
            part = folder / f"{path.name}-{os.getpid()}"
            try:
                os.link(path, part)
            except OSError:  # Another file system; no such file fails again.
                shutil.copyfile(path, part)
            part.replace(folder / path.name)


def _keep(mine: Path, kept: Path) -> None:
    """Add the whole new entries of a run to those that are kept, within the limit."""
    known = {path.name for path in _entries(kept / "jax")}
    _copy((one for one in _entries(mine) if one.name not in known and _is_whole(one)), kept / "jax")
    for name in ("jax", "python"):
        _limit(kept / name, MAX_BYTES)


def _is_whole(entry: Path) -> bool:
    """Check that an entry was not cut short by the death of its process."""
    from jax._src.compilation_cache import decompress_executable

    try:
        decompress_executable(entry.read_bytes())
    except Exception:  # of zlib or of whichever zstd JAX has chosen
        return False
    return True


def _limit(folder: Path, max_bytes: int) -> None:
    """Delete what was written first until the rest is within the limit."""
    stats = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                stats.append((path.stat().st_mtime, path.stat().st_size, path))
    excess = sum(size for _, size, _ in stats) - max_bytes
    for _, size, path in sorted(stats):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
