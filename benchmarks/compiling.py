"""Environment in which many processes share what they compile."""

from pathlib import Path


def share_compiled(folder: Path) -> dict[str, str]:
    """Return the environment variables under which processes share compiled code in a folder.

    JAX writes there without a lock: a process that reads a half-written entry warns and compiles
    it again. Python's bytecode goes there too, even where the environment forbids it, as that of
    many container images does: each process would compile the sources of all libraries, for longer
    than it works.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # Caches for GPUs, whose path would be part of each entry's key.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        "PYTHONPYCACHEPREFIX": str(folder / "python"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
