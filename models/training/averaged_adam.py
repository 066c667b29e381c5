"""Adam with a running average of the weights, which is the model."""

from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

Parameters = TypeVar("Parameters")
"""A tree of arrays: the weights of a network."""


class AveragedState(NamedTuple, Generic[Parameters]):
    """What an update turns into the next: the weights, Adam's moments, the averaged weights."""

    parameters: Parameters
    moments: optax.OptState
    average: Parameters


@jax.jit
def start(parameters: Parameters) -> AveragedState[Parameters]:
    """The state before the first update; `parameters` are copied."""
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
    """One step of Adam and of the average, to be compiled with what takes the gradient.

    Args:
        state: before it.
        gradient: of the loss, shaped as the weights.
        number: scalar int32, updates made before this one.
        learning_rate: Adam's.
        averaging: how much of the average stays.
    """
    steps, moments = optax.adam(learning_rate).update(gradient, state.moments, state.parameters)
    parameters = optax.apply_updates(state.parameters, steps)
    # The first weights are far off: the average forgets them faster than its later pace.
    pace = jnp.maximum(1.0 - averaging, 9.0 / (10.0 + number.astype(jnp.float32)))
    average = optax.incremental_update(parameters, state.average, pace)
    return AveragedState(parameters, moments, average)
