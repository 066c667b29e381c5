"""The kernel from neural-tangents, loaded without what does not load.

neural-tangents 0.6.5, its last release, fails in `import neural_tangents` on jax ≥ 0.6: its
empirical part uses removed names and pulls TensorFlow in. Its `stax` part works. So the package is
registered as a bare module that has only a path, its `__init__` never runs, and `stax` is imported
from there.
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
"""Two sets of dense rows, the second `None` for the first again ↦ Θ."""


@cache
def load_stax() -> ModuleType:
    """Import `neural_tangents.stax` and nothing else of the package.

    Raises:
        ModuleNotFoundError: neural-tangents is not installed.
    """
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
    """The kernel function of the network; any other `stax` architecture can stand in for it."""
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
    """Θ between dense rows, as neural-tangents computes it.

    Args:
        left: `(l, d)` float32 or float64, which is the dtype of the result.
        right: `(r, d)`, or `None` for `left` with itself and an exact diagonal.
        settings: the network.

    Returns:
        `(l, r)`.
    """
    with jax.enable_x64(left.dtype == np.float64):
        if right is None:
            # Step by step √(a·a) is a and the diagonal's cosine 1; fused by a compiler it is not.
            return np.asarray(stax_kernel(settings)(left, None))
        return np.asarray(_compiled(settings)(left, right))
