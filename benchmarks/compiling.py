"""Environment in which many processes share what they compile."""

from pathlib import Path

from perennial.storage.compile_cache import jax_variables


def share_compiled(folder: Path) -> dict[str, str]:
    """Return the environment variables under which processes share compiled code in a folder.

    JAX writes there without a lock: a process that reads a half-written entry warns and compiles
    it again. Python's bytecode goes there too, even where the environment forbids it, as that of
    many container images does: each process would compile the sources of all libraries, for longer
    than it works.
    """
    return {
        **jax_variables(folder / "jax"),
        "PYTHONPYCACHEPREFIX": str(folder / "python"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
