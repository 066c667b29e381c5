"""What the machine has."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def total_memory(limits: Sequence[Path] = _CONTAINER_LIMITS) -> int:
    """Bytes of memory that this process may come to use: the machine's, or its container's.

    Args:
        limits: files in which Linux tells a container's limit, in bytes; others are passed over.
    """
    total = int(psutil.virtual_memory().total)
    for path in limits:
        if path.is_file():
            text = path.read_text().strip()
            if text.isdigit():
                total = min(total, int(text))
    return total


def default_workers() -> int:
    """Processes that share this machine well: one per core, or one where there is a GPU."""
    import jax

    # Without this the question alone would take most of the GPU's memory from the workers.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
