"""One outer step of a distillation, compiled as a whole, and checkpoints between steps."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Key
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.distill.objective import (
    reconstruction_loss,
    sparsity_penalty,
    support_predictions,
)
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.validation import BestSupport
from perennial.models.mesh import batch_sharding
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import (
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    save_arrays,
)


class DeviceUsers(NamedTuple):
    """Real users on the device, p of them, a multiple of the batch.

    Attributes:
        targets: see `perennial.memory.distill.targets`.
        weights: of each user in the outer loss.
        is_item: whether a column is an item; the others are padding.
        num_items: d of the kernel.
        row_sum: mean row sum of the data.
    """

    rows: Float32[Array, "p i"]
    targets: Float32[Array, "p i"]
    weights: Float32[Array, " p"]
    is_item: Bool[Array, " i"]
    num_items: Float32[Array, ""]
    row_sum: Float32[Array, ""]


class StepState(NamedTuple):
    """State of the optimisation on the device."""

    parameters: Float32[Array, "m i"]
    optimiser: optax.OptState
    key: Key[Array, ""]


def initial_state(
    parameters: Float32[Array, "m i"], settings: DistillSettings, key: Key[Array, ""]
) -> StepState:
    """Return the state before the first step."""
    optimiser = PARAMETRISATIONS[settings.method].optimiser(settings, parameters.shape)
    return StepState(parameters, optimiser.init(parameters), key)


@partial(jax.jit, static_argnames=("settings", "mesh"), donate_argnums=0)
def outer_step(
    state: StepState, users: DeviceUsers, settings: DistillSettings, mesh: Mesh | None = None
) -> tuple[StepState, Float32[Array, ""]]:
    """Draw a batch of real users, and make a gradient step; return the state, and the loss before.

    The buffers of `state` are donated. Each of the settings compiles once. The batch is split over
    the devices of the mesh; each has the whole support, and their gradients are added up.
    """
    method = PARAMETRISATIONS[settings.method]
    batch_key, noise_key, next_key = jax.random.split(state.key, 3)
    size = min(settings.batch_size, users.rows.shape[0])
    drawn = jax.random.permutation(batch_key, users.rows.shape[0])[:size]
    contexts, targets = users.rows[drawn], users.targets[drawn]
    weights = users.weights[drawn]
    if mesh is not None:
        split = batch_sharding(mesh, size)
        contexts, targets, weights = jax.lax.with_sharding_constraint(  # type: ignore[no-untyped-call]
            (contexts, targets, weights), split
        )
    reg = jnp.asarray(settings.inner_reg, jnp.float32)

    def outer_loss(parameters: Float32[Array, "m i"]) -> Float32[Array, ""]:
        support = method.support(parameters, noise_key, settings)
        scores = support_predictions(contexts, support, reg, users.num_items)
        loss = reconstruction_loss(scores, targets, weights, users.is_item, settings.loss)
        if settings.sparsity_weight > 0:
            loss += settings.sparsity_weight * sparsity_penalty(support, users.row_sum)
        return loss

    loss, gradient = jax.value_and_grad(outer_loss)(state.parameters)
    optimiser = method.optimiser(settings, state.parameters.shape)
    with jax.numpy_dtype_promotion("standard"):  # Optax divides by its int32 count.
        change, optimiser_state = optimiser.update(gradient, state.optimiser, state.parameters)
    moved = method.project(optax.apply_updates(state.parameters, change))
    return StepState(moved, optimiser_state, next_key), loss


def save_progress(
    path: Path, fingerprint: str, state: StepState, best: BestSupport, step: int, worse: int
) -> None:
    """Write everything that the next steps follow from; the file is replaced as a whole."""
    leaves = jax.tree.leaves(_plain(state))
    arrays = {f"state{place}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
    save_arrays_and_best(path, fingerprint, arrays, best, step, worse)


def load_progress(
    path: Path, fingerprint: str, like: StepState
) -> tuple[StepState, BestSupport, int, int] | None:
    """Read state, best, step and worse; `None` without an undamaged checkpoint of the problem."""
    loaded = load_arrays_and_best(path, fingerprint)
    if loaded is None:
        return None
    arrays, best, step, worse = loaded
    plain = _plain(like)
    count = len(jax.tree.leaves(plain))
    leaves = [jnp.asarray(arrays[f"state{place}"]) for place in range(count)]
    restored = jax.tree.unflatten(jax.tree.structure(plain), leaves)
    state = restored._replace(key=jax.random.wrap_key_data(restored.key))
    return state, best, step, worse


def save_arrays_and_best(
    path: Path,
    fingerprint: str,
    arrays: Mapping[str, NDArray[Any]],
    best: BestSupport,
    step: int,
    worse: int,
) -> None:
    """Write a checkpoint of a state that is given as arrays; see `save_progress`."""
    numbers = {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in vars(best).items()
        if name != "support"
    }
    manifest: dict[str, Any] = {"task": fingerprint, "step": step, "worse": worse, "best": numbers}
    support = best.support
    if isinstance(support, csr_array):
        manifest["shape"] = list(support.shape)
        parts = csr_to_arrays(support)
    else:
        parts = {"best": support}
    save_arrays(path.parent, path.stem, {**arrays, **parts}, manifest)


def load_arrays_and_best(
    path: Path, fingerprint: str
) -> tuple[dict[str, NDArray[Any]], BestSupport, int, int] | None:
    """Read what `save_arrays_and_best` wrote; see `load_progress`."""
    if not path.is_file():
        return None
    try:
        arrays, manifest = load_arrays(path)
    except UserError:
        return None
    if manifest.get("task") != fingerprint:
        return None
    numbers: dict[str, Any] = {
        name: float("nan") if value is None else value for name, value in manifest["best"].items()
    }
    support: NDArray[np.float32] | csr_array
    if "shape" in manifest:
        support = csr_from_arrays(arrays, manifest["shape"][1])
    else:
        support = arrays["best"]
    return arrays, BestSupport(support=support, **numbers), manifest["step"], manifest["worse"]


def _plain(state: StepState) -> StepState:
    """Return the state with its key as numbers."""
    return state._replace(key=jax.random.key_data(state.key))
