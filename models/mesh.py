"""The devices of this process as a mesh with one axis, along which rows are shared out."""

from typing import TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
