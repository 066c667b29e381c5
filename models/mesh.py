"""The devices of this process as a mesh with one axis, along which rows are shared out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np
import scipy.linalg  # noqa: F401 - it brings a BLAS of its own, which must be there to be found
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from threadpoolctl import ThreadpoolController

Tree = TypeVar("Tree")

ROWS = "rows"
"""The axis."""

SHARED_OUT = PartitionSpec(ROWS)  # type: ignore[no-untyped-call]
"""An array's rows are shared out among the devices."""

ON_EACH = PartitionSpec()  # type: ignore[no-untyped-call]
"""Every device has the whole array."""


def device_mesh() -> Mesh | None:
    """All devices of JAX's default backend; `None` for a single CPU.

    There SciPy's sparse products and LAPACK are faster than XLA's. One GPU, several, and several
    CPU devices (`jax_num_cpu_devices`) take the same path.
    """
    devices = jax.local_devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return None
    return Mesh(np.array(devices), (ROWS,))


def mesh_of(array: Array) -> Mesh:
    """The mesh that an array lies on."""
    sharding = array.sharding
    assert isinstance(sharding, NamedSharding)  # noqa: S101
    assert isinstance(sharding.mesh, Mesh)  # noqa: S101
    return sharding.mesh


def put_on_each(arrays: Tree, mesh: Mesh | None) -> Tree:
    """Arrays whole on every device of a mesh, or where they are without one."""
    if mesh is None:
        return arrays
    placed: Tree = jax.device_put(arrays, NamedSharding(mesh, ON_EACH))
    return placed


def batch_sharding(mesh: Mesh, size: int) -> NamedSharding:
    """How a batch of `size` rows lies: shared out where that goes evenly, else whole on each."""
    return NamedSharding(mesh, SHARED_OUT if size % mesh.size == 0 else ON_EACH)


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


def round_up(count: int, step: int) -> int:
    """The least multiple of `step` that is at least `count`, and at least `step`."""
    return step * max(1, -(-count // step))


def next_power(count: int) -> int:
    """The least power of two that is at least `count`, and at least 1."""
    return 1 << max(0, count - 1).bit_length()
