"""What is read from outside while cells are made: the time and the process's memory."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil


def _utc_now() -> datetime:
    """The time in UTC, without a zone, as the store keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _peak_rss_bytes() -> int:
    """The largest resident size that this process has had."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Clock:
    """Where times and memory figures come from; tests pass their own.

    Attributes:
        seconds: a clock that only runs forward.
        now: the date and time, UTC without a zone.
        peak_rss_bytes: the process's largest resident size so far.
    """

    seconds: Callable[[], float] = time.perf_counter
    now: Callable[[], datetime] = _utc_now
    peak_rss_bytes: Callable[[], int] = _peak_rss_bytes


@dataclass
class Stopwatch:
    """Adds up seconds per stage.

    Attributes:
        clock: read at the start and the end of a stage.
        stages: seconds by name, in order of first use.
    """

    clock: Clock
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `name`."""
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
