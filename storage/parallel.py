"""Array operations on all cores: NumPy releases the GIL, and threads share the arrays."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from numpy.typing import NDArray

Result = TypeVar("Result")

# 2^16 rows of a few 8-byte columns fit into a core's cache.
CACHE_ROWS = 1 << 16


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split_evenly(length: int, parts: int) -> list[tuple[int, int]]:
    """Split `range(length)` into at most `parts` consecutive ranges, none of them empty."""
    edges = sorted({length * part // parts for part in range(parts + 1)})
    return list(pairwise(edges))


def run_all(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run independent calls in parallel, with the results or the error of a loop over them."""
    if len(calls) < 2:
        return [call() for call in calls]
    with ThreadPoolExecutor(count_cores()) as pool:
        return list(pool.map(lambda call: call(), calls))


def over_parts(work: Callable[..., Result], parts: Sequence[tuple[Any, ...]]) -> list[Result]:
    """Call `work(*part)` for every part in parallel; results are in the order of `parts`.

    A task is a run of parts, since one task per part would cost as much as the part.
    """

    def run(first: int, last: int) -> list[Result]:
        return [work(*part) for part in parts[first:last]]

    runs = split_evenly(len(parts), 4 * count_cores())
    if len(parts) < 2:
        return run(0, len(parts))
    with ThreadPoolExecutor(count_cores()) as pool:
        return [result for results in pool.map(lambda ends: run(*ends), runs) for result in results]


def over_blocks(
    work: Callable[[int, int], Result], length: int, block: int = CACHE_ROWS
) -> list[Result]:
    """Call `work(start, stop)` for consecutive blocks of `range(length)`.

    The result is the same for any number of cores as long as a block writes to its own part only.
    """
    starts = range(0, length, block)
    return over_parts(work, [(start, min(start + block, length)) for start in starts])


def find_range(values: NDArray[Any]) -> tuple[int, int]:
    """Return the least and the greatest of integers `(n,)`; (0, 0) if n = 0."""

    def find(start: int, stop: int) -> tuple[int, int]:
        return int(values[start:stop].min()), int(values[start:stop].max())

    ends = over_blocks(find, len(values))
    if not ends:
        return 0, 0
    return min(low for low, _ in ends), max(high for _, high in ends)
