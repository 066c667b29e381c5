"""How many threads BLAS and LAPACK take.

OpenBLAS shares a matrix out among all cores and lets those that are ready spin until the last one
is. A core that is busy elsewhere is then waited for hundreds of times: factorising 300 rows took
1.5 s so, and 0.02 s with one thread (benchmarks/RESULTS.md). Small matrices gain little from
threads, and where threads of ours share the work out already they only stand in its way.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401 - it brings a BLAS of its own, which must be there to be found
from threadpoolctl import ThreadpoolController

SMALL = 2048
"""Fewer rows than these are factorised by one thread."""


def threads_for(num_rows: int) -> AbstractContextManager[None]:
    """As many threads as suit a square matrix of so many rows."""
    return one_thread() if num_rows < SMALL else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS and LAPACK take one thread meanwhile.

    That holds for the whole process. Whoever leaves first puts back what was at the start, so that
    two at the same time leave no limit behind.
    """
    controller, at_start = _controller()
    controller.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        controller.limit(limits=at_start)


@cache
def _controller() -> tuple[ThreadpoolController, dict[str, Any]]:
    """The libraries of this process, and how many threads each took at first."""
    controller = ThreadpoolController()
    return controller, {library["prefix"]: library["num_threads"] for library in controller.info()}
