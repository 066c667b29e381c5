"""How much memory a file may take while it is read."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from perennial.storage.errors import UserError

_GROUP = Path("/sys/fs/cgroup")
_SHARE = 0.5


def free_bytes(group: Path = _GROUP) -> int:
    """Bytes of memory that this process may still take.

    The least of what the machine, the container and the limit of the process (`ulimit -v`) leave.

    Args:
        group: the folder in which Linux tells what the container has.
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
            # Part of what is used are cached files, which make room.
            free = min(free, int(texts[0]) - int(texts[1]) + _cached(group / limit))
    if sys.platform != "win32":
        import resource

        space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if space != resource.RLIM_INFINITY:
            free = min(free, space - int(psutil.Process().memory_info().vms))
    return max(free, 0)


def _cached(limit: Path) -> int:
    """Bytes of files that a container keeps in memory and can let go."""
    path = limit.with_name("memory.stat")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)


class Budget:
    """The memory for what a file is read into: half of what was free when the reading began.

    A few kilobytes of gzip, or of a Parquet file whose values all repeat, can stand for more than
    any machine has. How much a file expands is no sign of that, as honest logs compress by a
    hundred; nor is its size, as 10⁸ rows are a log like another. So text is unpacked block by
    block, and what counts is what is kept of it, beside what this machine has. The other half is
    for the steps that follow, whose arrays are of the size of these.
    """

    def __init__(self, free: Callable[[], int] = free_bytes) -> None:
        self.free = free()
        self._left = int(self.free * _SHARE)
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> None:
        """Count memory before it is taken, or soon after.

        Raises:
            UserError: it is too much.
        """
        with self._lock:
            self._left -= num_bytes
        if self._left < 0:
            raise UserError(
                f"what is in it takes more than half of the {self.free / 2**30:.1f} GiB of memory "
                "that are free: split it into several files, or read it where there is more memory"
            )
