"""One outer step of a distillation, compiled as a whole."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Key

from perennial.memory.distill.objective import (
    reconstruction_loss,
    sparsity_penalty,
    support_predictions,
)
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.settings import DistillSettings
from perennial.models.mesh import batch_sharding


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
