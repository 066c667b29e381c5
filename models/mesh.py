"""Devices of this process as a mesh of one axis, threads of BLAS, and padded sizes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np
import scipy.linalg  # noqa: F401 - loads its own BLAS, which the controller then finds
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from threadpoolctl import ThreadpoolController

Tree = TypeVar("Tree")

ROWS = "rows"
"""Name of the axis."""

SHARED_OUT = PartitionSpec(ROWS)  # type: ignore[no-untyped-call]
"""Placement of an array whose rows are shared out among the devices."""

ON_EACH = PartitionSpec()  # type: ignore[no-untyped-call]
"""Placement of an array that every device has whole."""


def device_mesh() -> Mesh | None:
    """Return all devices of JAX's default backend; `None` for a single CPU.

    On a CPU SciPy's sparse products and LAPACK are faster than XLA's. One GPU, several, and several
    CPU devices (`jax_num_cpu_devices`) take the same path.
    """
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return None
    return Mesh(np.array(devices), (ROWS,))


def mesh_of(array: Array) -> Mesh:
    """Return the mesh on which an array of any shape is placed."""
    sharding = array.sharding
    assert isinstance(sharding, NamedSharding)  # noqa: S101
    assert isinstance(sharding.mesh, Mesh)  # noqa: S101
    return sharding.mesh


def put_on_each(arrays: Tree, mesh: Mesh | None) -> Tree:
    """Place arrays whole on every device of a mesh; without one, leave them where they are."""
    if mesh is None:
        return arrays
    placed: Tree = jax.device_put(arrays, NamedSharding(mesh, ON_EACH))
    return placed


def batch_sharding(mesh: Mesh, size: int) -> NamedSharding:
    """Placement of a batch: rows shared out if their number divides evenly, else whole on each."""
    return NamedSharding(mesh, SHARED_OUT if size % mesh.size == 0 else ON_EACH)


SMALL = 2048
"""A matrix of fewer rows is factorised by one thread."""


def threads_for(num_rows: int) -> AbstractContextManager[None]:
    """Limit BLAS to the number of threads that suits a square matrix of `num_rows`."""
    return one_thread() if num_rows < SMALL else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and LAPACK of the whole process to one thread.

    Every exit restores the numbers of threads at the first use, so that overlapping contexts leave
    no limit behind.
    """
    controller, at_start = _controller()
    controller.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        controller.limit(limits=at_start)


@cache
def _controller() -> tuple[ThreadpoolController, dict[str, Any]]:
    """Return the controller of the loaded libraries, and their numbers of threads at first."""
    controller = ThreadpoolController()
    return controller, {library["prefix"]: library["num_threads"] for library in controller.info()}


def round_up(count: int, step: int) -> int:
    """Return the least multiple of `step` that is at least `count`, and at least `step`."""
    return step * max(1, -(-count // step))


def next_power(count: int) -> int:
    """Return the least power of two that is at least `count`, and at least 1."""
    return 1 << max(0, count - 1).bit_length()
