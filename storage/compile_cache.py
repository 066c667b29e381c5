"""Cache of compiled code: what JAX compiles for one command is kept for the next ones.

JAX writes below its own lock and deletes what was used longest ago. The folder's name has the
versions and the processor, since machines and environments may share a home.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "PERENNIAL_COMPILE_CACHE"
"""Environment variable that turns the cache off with the value `off`."""

MAX_BYTES = 512 * 2**20
"""Size of the compiled code for one machine and version."""

UNUSED_DAYS = 90
"""Age at which the folder of another machine or version is deleted."""

_WRITE_SECONDS = 60.0
"""More than the write of an entry takes: one that is older and not whole has lost its writer."""


def cache_folder() -> Path:
    """Return the user's cache folder, for compiled code, downloads and generated logs."""
    return user_cache_path("perennial")


def compile_variables(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables with which a process keeps what JAX compiles.

    There are none if the environment `given` turns the cache off or names another one, or if the
    user's cache folder cannot be written. Errors of JAX's cache are no warnings from then on: JAX
    compiles what it cannot read.
    """
    folder = cache_folder() / "compiled" / describe_machine()
    is_off = given.get(VARIABLE, "").lower() in ("off", "0", "false", "no")
    if is_off or "JAX_COMPILATION_CACHE_DIR" in given or not _is_writable(folder):
        return {}
    with suppress(OSError):
        _tidy(folder, time.time())
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    return jax_variables(folder) | {"JAX_COMPILATION_CACHE_MAX_SIZE": str(MAX_BYTES)}


def jax_variables(folder: Path) -> dict[str, str]:
    """Return the environment variables with which JAX keeps all that it compiles in a folder."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # Caches for GPUs, whose path would be part of each entry's key.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
    }


def describe_machine() -> str:
    """Return a name of what compiled code depends on: versions, the processor's instructions."""
    flags = ""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    parts = (sys.version, platform.system(), platform.machine(), *versions, flags)
    return f"jax-{versions[0]}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def clear_compile_cache() -> int:
    """Delete the compiled code of all machines and versions; returns its size in bytes."""
    compiled = cache_folder() / "compiled"
    size = 0
    for entry in compiled.glob("*/*"):
        with suppress(FileNotFoundError):  # Another process deletes entries too.
            size += entry.stat().st_size
            entry.unlink()
    for folder in (*compiled.glob("*"), compiled):
        with suppress(OSError):  # Another process may have written there meanwhile.
            folder.rmdir()
    return size


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _tidy(folder: Path, now: float) -> None:
    """Delete entries that were cut short, which JAX never writes again, and unused folders.

    JAX writes the time of last use after the entry, so an old entry without one is not whole; with
    it JAX could not delete any other either.
    """
    if not folder.is_dir():
        return
    os.utime(folder)
    for other in folder.parent.iterdir():
        if now - other.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)
    for entry in folder.glob("*-cache"):
        used = entry.with_name(entry.name.removesuffix("-cache") + "-atime")
        if not used.exists() and now - entry.stat().st_mtime > _WRITE_SECONDS:
            entry.unlink(missing_ok=True)
