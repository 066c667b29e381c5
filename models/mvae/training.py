"""The training loop of MVAE: one jitted step, averaged weights, early stopping by a callback."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mvae.network import (
    MVAEParameters,
    TeacherBatch,
    distillation_loss,
    negative_bound,
)
from perennial.models.training.averaged_adam import AveragedState, start, step
from perennial.models.training.batches import (
    SparseBatch,
    assemble,
    draw_row_numbers,
    make_key,
    pad_entries,
    pad_items,
    pad_rows,
    scale_weights,
    usual_entries,
)
from perennial.stream.seeds import derive_seed

_STATE_COPIES = 5
"""Weights, gradient, both moments of Adam and the average."""


@dataclass(frozen=True)
class MVAETrainingSettings:
    """How to train, however long.

    Attributes:
        batch_size: rows per update.
        learning_rate: Adam's.
        dropout: share of the input entries that are dropped.
        averaging: how much of the average stays at each update; 0 takes the last weights.
        beta: β at the end of the annealing.
        anneal_updates: updates over which β grows linearly from 0.
        gather: whether the first layer gathers, see `mvae_network.project`.
    """

    batch_size: int
    learning_rate: float
    dropout: float
    averaging: float
    beta: float
    anneal_updates: int
    gather: bool

    def annealed_beta(self, number: int) -> float:
        """β of the update that `number` others came before."""
        return self.beta * min(1.0, (number + 1) / max(1, self.anneal_updates))

    def rates(self, number: int) -> "MVAERates":
        """The rates of the update that `number` others came before."""
        return MVAERates(
            np.float32(self.learning_rate),
            np.float32(self.dropout),
            np.float32(self.averaging),
            np.float32(self.annealed_beta(number)),
        )


class MVAERates(NamedTuple):
    """The numbers that rule an update; not compiled in, so that other ones cost nothing."""

    learning_rate: np.float32
    dropout: np.float32
    averaging: np.float32
    beta: np.float32


@partial(jax.jit, static_argnames=("gather",), donate_argnames=("state",))
def update(
    state: AveragedState[MVAEParameters],
    batch: SparseBatch,
    num_items: Array,
    key: Array,
    number: Array,
    rates: MVAERates,
    lesson: TeacherBatch | None = None,
    *,
    gather: bool,
) -> tuple[AveragedState[MVAEParameters], Array]:
    """One step of Adam on the negative bound, and of the running average of the weights.

    Args:
        state: given up: its buffers become the result's.
        batch: the rows.
        num_items: scalar, the items that are not padding.
        key: of the whole training; the update's own key is folded from it.
        number: scalar int32, updates made before this one.
        rates: learning rate, dropout, averaging and β now.
        lesson: of a teacher; its distillation loss is added.
        gather: see `mvae_network.project`.

    Returns:
        The next state and the loss.
    """
    own = jax.random.fold_in(key, number)

    beta, dropout = jnp.asarray(rates.beta), jnp.asarray(rates.dropout)

    def loss_of(parameters: MVAEParameters) -> Array:
        loss = negative_bound(
            parameters, batch, num_items, beta, own, dropout=dropout, gather=gather
        )
        if lesson is None:
            return loss
        # Folding in 0 or 1 gives the very keys that `negative_bound` splits its own into.
        return loss + distillation_loss(
            parameters, lesson, jax.random.fold_in(own, 2), dropout=dropout, gather=gather
        )

    loss, gradient = jax.value_and_grad(loss_of)(state.parameters)
    moved = step(
        state, gradient, number, learning_rate=rates.learning_rate, averaging=rates.averaging
    )
    return moved, loss


def train(
    parameters: MVAEParameters,
    matrix: csr_array,
    weights: NDArray[np.float64],
    *,
    settings: MVAETrainingSettings,
    num_updates: int,
    seed: int,
    lessons: Iterator[TeacherBatch] | None = None,
    check_every: int = 0,
    check: Callable[[int, MVAEParameters], bool] = lambda _number, _parameters: True,
) -> MVAEParameters:
    """Train for `num_updates`, or until a check says stop.

    Args:
        parameters: where to start.
        matrix: `(num_rows, num_items)` float32, the rows.
        weights: `(num_rows,)` > 0; only their ratios matter.
        settings: of the updates.
        num_updates: at most so many.
        seed: of the order of the rows, the dropout and the noise.
        lessons: one for each update, if there is a teacher.
        check_every: updates between checks; the last update is checked too; 0 for no checks.
        check: takes the updates made and the averaged weights, which it must not keep; says
            whether to go on.

    Returns:
        The averaged weights after the last update made.
    """
    num_rows, num_items = matrix.shape
    state: AveragedState[MVAEParameters] = start(parameters)
    del parameters  # the caller's last reference may be this one
    if num_rows == 0:
        return state.average
    scaled = scale_weights(weights)
    usual = usual_entries(matrix, min(settings.batch_size, num_rows))
    key = make_key(derive_seed(seed, "noise"))
    order = np.random.default_rng(derive_seed(seed, "order"))
    batches = draw_row_numbers(num_rows, settings.batch_size, order)
    for number in range(num_updates):
        state, _ = update(
            state,
            assemble(matrix, next(batches), settings.batch_size, scaled, usual),
            np.int32(num_items),
            key,
            np.int32(number),
            settings.rates(number),
            None if lessons is None else next(lessons),
            gather=settings.gather,
        )
        made = number + 1
        due = check_every and (made % check_every == 0 or made == num_updates)
        if due and not check(made, state.average):
            break
    return state.average


def estimate_memory(
    num_items: int, num_rows: int, num_entries: int, *, hidden: int, latent: int, gather: bool
) -> int:
    """Bytes that training takes at most: five copies of the weights, and the arrays of a batch.

    For 3,706 to 43,136 items it is 5% to 35% over what the compiled update asks for (measured).

    Args:
        num_items: of the catalogue.
        num_rows: of the largest batch, those that are scored included.
        num_entries: of such a batch.
        hidden: units of the hidden layers.
        latent: width of the latent space.
        gather: see `mvae_network.project`.
    """
    width, height = pad_items(num_items), pad_rows(num_rows)
    weights = width * (2 * hidden + 1) + hidden * (3 * latent + 2) + 2 * latent
    # Rows, logits, their gradient and one temporary; a dense first layer adds two.
    batch = height * width * (4 if gather else 6)
    gathered = 2 * pad_entries(num_entries) * hidden if gather else 0
    return 4 * (_STATE_COPIES * weights + batch + gathered)
