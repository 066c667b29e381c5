"""Limit on the memory that a file may take while it is read."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from perennial.storage.errors import UserError

_GROUP = Path("/sys/fs/cgroup")
_SHARE = 0.5


def free_bytes(group: Path = _GROUP) -> int:
    """Return the bytes of memory that this process may still allocate.

    The minimum over the machine, the container, as Linux reports it in the folder `group`, and the
    limit of the process (`ulimit -v`).
    """
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        texts = [
            path.read_text().strip() for path in (group / limit, group / used) if path.is_file()
        ]
        if len(texts) == 2 and all(text.isdigit() for text in texts):
            # Part of the used memory are cached files, which can be evicted.
            free = min(free, int(texts[0]) - int(texts[1]) + _cached(group / limit))
    if sys.platform != "win32":
        import resource

        space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if space != resource.RLIM_INFINITY:
            free = min(free, space - int(psutil.Process().memory_info().vms))
    return max(free, 0)


def _cached(limit: Path) -> int:
    """Return the bytes of cached files that a container can evict."""
    path = limit.with_name("memory.stat")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)


class Budget:
    """Memory for the contents of a file: half of what is free when reading begins.

    A few kilobytes of gzip, or of a Parquet file with one repeated value, can expand to more than
    any machine has. Neither the ratio of expansion nor the size reveals such a file: normal logs
    compress by a hundred, and may have 10⁸ rows. So text is unpacked block by block, and what is
    kept of it is counted and compared with the memory of this machine. The other half is for the
    next steps, whose arrays are as large as these.
    """

    def __init__(self, free: Callable[[], int] = free_bytes) -> None:
        self.free = free()
        self._left = int(self.free * _SHARE)
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> None:
        """Count memory before it is allocated, or soon after; `UserError` over the budget."""
        with self._lock:
            self._left -= num_bytes
        if self._left < 0:
            raise UserError(
                f"what is in it takes more than half of the {self.free / 2**30:.1f} GiB of memory "
                "that are free: split it into several files, or read it where there is more memory"
            )
