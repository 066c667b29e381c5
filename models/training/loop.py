"""Training loop of all models that learn by gradient, and Adam with averaged weights."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from perennial.models.training.early_stopping import Check, Weights

Parameters = TypeVar("Parameters")
"""A tree of arrays: the weights of a network."""

State = TypeVar("State")
"""Everything that an update turns into the next."""


def run_updates(
    state: State,
    update: Callable[[State, int], State],
    weights: Callable[[State], Weights],
    *,
    num_updates: int,
    check_every: int = 0,
    check: Check[Weights] | None = None,
) -> State:
    """Make `num_updates`, or fewer if a check ends the training.

    `update` takes a state, which it may overwrite, and the number of updates before it. The weights
    of a state are checked every `check_every` updates and after the last; a check returns False to
    end the training.

    Returns:
        The state after the last update.
    """
    for made in range(1, num_updates + 1):
        state = update(state, made - 1)
        due = check is not None and (made % check_every == 0 or made == num_updates)
        if due and check is not None and not check(made, weights(state)):
            break
    return state


class AveragedState(NamedTuple, Generic[Parameters]):
    """State of Adam with a running average of the weights, which is the model."""

    parameters: Parameters
    moments: optax.OptState
    average: Parameters


@jax.jit
def start(parameters: Parameters) -> AveragedState[Parameters]:
    """Return the state before the first update; `parameters` are copied."""
    return AveragedState(
        parameters=jax.tree.map(jnp.copy, parameters),
        moments=optax.adam(0.0).init(parameters),
        average=jax.tree.map(jnp.copy, parameters),
    )


def step(
    state: AveragedState[Parameters],
    gradient: Parameters,
    number: Array,
    *,
    learning_rate: np.float32,
    averaging: np.float32,
) -> AveragedState[Parameters]:
    """Make one step of Adam and of the average; to be compiled together with the gradient.

    `number` is a scalar int32, the updates made before; `averaging` is the share of the average
    that stays.
    """
    with jax.numpy_dtype_promotion("standard"):  # Optax divides by its int32 count.
        steps, moments = optax.adam(learning_rate).update(gradient, state.moments, state.parameters)
    parameters = optax.apply_updates(state.parameters, steps)
    # The first weights are far off: the average forgets them faster than its later pace.
    pace = jnp.maximum(1.0 - averaging, 9.0 / (10.0 + number.astype(jnp.float32)))
    average = optax.incremental_update(parameters, state.average, pace)
    return AveragedState(parameters, moments, average)
