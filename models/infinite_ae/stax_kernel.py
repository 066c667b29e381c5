"""The kernel from neural-tangents, of which only the part `stax` is loaded.

`import neural_tangents` of 0.6.5, the last release, fails on jax ≥ 0.6: the empirical part uses
names that were removed, and imports TensorFlow. `stax` works. So the package is registered as a
module that has only a path, its `__init__` never runs, and `stax` is imported from there.
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from perennial.models.infinite_ae.kernel import KernelSettings

StaxKernel = Callable[[ArrayLike, ArrayLike | None], Array]
"""Θ of two sets of dense rows; the second is `None` for the first again."""


@cache
def load_stax() -> ModuleType:
    """Import `neural_tangents.stax` without the rest of the package."""
    name = "neural_tangents"
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no module named '{name}'", name=name)
        package = ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules[name] = package
    return importlib.import_module(f"{name}.stax")


@cache
def stax_kernel(settings: KernelSettings) -> StaxKernel:
    """Make the kernel function of the network; any `stax` architecture can take its place."""
    stax = load_stax()

    def dense() -> Any:
        return stax.Dense(1, W_std=settings.weight_variance**0.5, b_std=settings.bias_variance**0.5)

    hidden = [layer for _ in range(settings.depth) for layer in (stax.Relu(), dense())]
    _, _, kernel = stax.serial(dense(), *hidden)
    return partial(kernel, get="ntk")


@cache
def _compiled(settings: KernelSettings) -> StaxKernel:
    return jax.jit(stax_kernel(settings))


def stax_values(
    left: NDArray[np.floating[Any]],
    right: NDArray[np.floating[Any]] | None,
    settings: KernelSettings,
) -> NDArray[Any]:
    """Compute Θ `(l, r)` between dense rows `(l, d)` and `(r, d)` with neural-tangents.

    With `None` for the right rows it is of the left ones with themselves, exact on the diagonal.
    """
    with jax.enable_x64(left.dtype == np.float64):
        if right is None:
            # Without a compiler: √(a·a) is a and the diagonal's cosine 1, which fusion changes.
            return np.asarray(stax_kernel(settings)(left, None))
        return np.asarray(_compiled(settings)(left, right))
