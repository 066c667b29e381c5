"""Time, memory and cores of the machine."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from perennial.storage.base import parse_size
from perennial.storage.errors import UserError


def _peak_rss_bytes() -> int:
    """Return the largest resident size of this process so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Clock:
    """Source of times and memory figures; tests pass their own.

    `seconds` is a clock that only runs forward, and `now` is in UTC without a zone.
    """

    seconds: Callable[[], float] = time.perf_counter
    now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None)
    peak_rss_bytes: Callable[[], int] = _peak_rss_bytes


@dataclass
class Stopwatch:
    """Sums of seconds per stage, in order of first use."""

    clock: Clock
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block to `name`."""
        start = self.clock.seconds()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + self.clock.seconds() - start


_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def total_memory(limits: Sequence[Path] = _CONTAINER_LIMITS) -> int:
    """Return the bytes of memory of the machine, or less if one of the files `limits` has less."""
    total = int(psutil.virtual_memory().total)
    for path in limits:
        if path.is_file():
            text = path.read_text().strip()
            if text.isdigit():
                total = min(total, int(text))
    return total


_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def parse_memory_size(text: str) -> int:
    """Parse a size such as `8GiB`, or a share of the machine's memory such as `70%`, as bytes.

    Raises:
        UserError: the text is neither.
    """
    share = _SHARE.fullmatch(text.strip())
    size = parse_size(text) if share is None else int(float(share[1]) / 100 * total_memory())
    if not size:
        raise UserError(f"'{text}' is no size; give one such as 8GiB, 500MiB or 70%")
    return size


def default_workers() -> int:
    """Return the default number of workers: one per core, or one on a GPU."""
    import jax

    # Otherwise reading the backend reserves most of the GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
