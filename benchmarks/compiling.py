"""What many processes compile alike, compiled once."""

from pathlib import Path


def share_compiled(folder: Path) -> dict[str, str]:
    """The environment in which processes take from a folder what one of them has compiled.

    JAX writes there without a lock: who reads what is half written warns, and compiles it again.
    Python's own bytecode goes there too, even where the environment says not to write any, as
    that of many container images does: every process would compile the sources of all libraries,
    for longer than it works.
    """
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPYCACHEPREFIX": str(folder / "python"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
