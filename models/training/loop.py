"""Training loop of all models that learn by gradient, averaged Adam, and early stopping."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from perennial.models.base import FitOptions
from perennial.models.selection import Candidate, Trial

Parameters = TypeVar("Parameters")
"""A tree of arrays: the weights of a network."""

State = TypeVar("State")
"""Everything that an update turns into the next."""

Weights = TypeVar("Weights")
"""Result of a training: all that scoring needs."""

Check = Callable[[int, Weights], bool]
"""Takes the updates made and the weights then; returns False to end the training."""


def run_updates(
    state: State,
    update: Callable[[State, int], State],
    weights: Callable[[State], Weights],
    *,
    num_updates: int,
    check_every: int = 0,
    check: Check[Weights] | None = None,
) -> State:
    """Make `num_updates`, or fewer if a check ends the training; return the last state.

    `update` takes a state, which it may overwrite, and the number of updates before it. The weights
    of a state are checked every `check_every` updates and after the last; a check returns False to
    end the training.
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


@dataclass
class Search(Generic[Weights]):
    """The trainings of one fit, each stopped early.

    Attributes:
        patience: checks without a better score after which a training ends.
        score: validation score of some weights, in per cent.
        options: its progress gets a message at each check.
        keep_best: if false, `best` stays `None`, and a training may overwrite checked weights.
        best: the best weights of all trainings; `None` before the first check.
    """

    patience: int
    score: Callable[[Weights], float]
    options: FitOptions
    metric: str = "HR@100"
    keep_best: bool = True
    best: Weights | None = None
    last_step: int = 0
    _best_score: float = -np.inf

    def attempt(
        self, candidate: Candidate, tried: str, train: Callable[[Check[Weights]], object]
    ) -> Trial:
        """Train until the score no longer grows.

        Messages of the progress begin with `tried`. `train` must not change weights that it has
        passed to a check.
        """
        best, best_step, since = -np.inf, 0, 0

        def check(updates: int, weights: Weights) -> bool:
            nonlocal best, best_step, since
            score, self.last_step = self.score(weights), updates
            since += 1
            if score > best:
                best, best_step, since = score, updates, 0
            if self.keep_best and score > self._best_score:
                self.best, self._best_score = weights, score
            self.options.progress(
                f"{tried} {updates} updates, validation {self.metric} {score:.2f}, "
                f"best {best:.2f} after {best_step}"
            )
            return since < self.patience

        train(check)
        return Trial(candidate, best, best_step)
