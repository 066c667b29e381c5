"""Training of MVAE: the first weights, one compiled update, and an estimate of its memory."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mvae.model import ITEM_ARRAYS, FittedMVAE, pad_parameters
from perennial.models.mvae.network import (
    MVAEParameters,
    TeacherBatch,
    distillation_loss,
    initialise,
    negative_bound,
)
from perennial.models.training.batches import (
    SparseBatch,
    draw_batches,
    make_key,
    pad_entries,
    pad_items,
    pad_rows,
)
from perennial.models.training.loop import AveragedState, Check, run_updates, start, step
from perennial.storage.base import derive_seed

_STATE_COPIES = 5
"""Weights, gradient, both moments of Adam and the average."""


class MVAERates(NamedTuple):
    """Numbers that may differ from update to update; they are not compiled in.

    Attributes:
        dropout: share of the input entries that are dropped.
        averaging: share of the averaged weights that stays; 0 takes the last weights.
        beta: annealed β.
    """

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
    teacher_batch: TeacherBatch | None = None,
    *,
    gather: bool,
) -> tuple[AveragedState[MVAEParameters], Array]:
    """Make one step of Adam on the negative bound, and of the running average of the weights.

    The buffers of `state` become the result's. The update's own key is folded from the `key` of the
    training and the `number` of updates before, an int32 scalar. The distillation loss of a
    `teacher_batch` is added.

    Returns:
        The next state and the loss.
    """
    own = jax.random.fold_in(key, number)
    beta, dropout = jnp.asarray(rates.beta), jnp.asarray(rates.dropout)

    def loss_of(parameters: MVAEParameters) -> Array:
        loss = negative_bound(
            parameters, batch, num_items, beta, own, dropout=dropout, gather=gather
        )
        if teacher_batch is None:
            return loss
        # Folding in 0 or 1 gives the very keys that `negative_bound` splits its own into.
        return loss + distillation_loss(
            parameters, teacher_batch, jax.random.fold_in(own, 2), dropout=dropout, gather=gather
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
    batch_size: int,
    rates: Callable[[int], MVAERates],
    gather: bool,
    num_updates: int,
    seed: int,
    teacher_batches: Iterator[TeacherBatch] | None = None,
    check_every: int = 0,
    check: Check[MVAEParameters] | None = None,
) -> MVAEParameters:
    """Train for `num_updates`, or until a check ends the training.

    The rows are `(num_rows, num_items)` float32, and only the ratios of their weights `(num_rows,)`
    > 0 matter. `rates` takes the number of updates before; with a teacher there is one of
    `teacher_batches` for each update. A check gets averaged weights that are overwritten later.

    Returns:
        The averaged weights after the last update.
    """
    state: AveragedState[MVAEParameters] = start(parameters)
    del parameters  # the caller's last reference may be this one
    if matrix.shape[0] == 0:
        return state.average
    key = make_key(derive_seed(seed, "noise"))
    batches = draw_batches(matrix, weights, batch_size, derive_seed(seed, "order"))
    num_items = np.int32(matrix.shape[1])

    def make_update(
        state: AveragedState[MVAEParameters], number: int
    ) -> AveragedState[MVAEParameters]:
        batch = next(batches)
        teacher_batch = None if teacher_batches is None else next(teacher_batches)
        state, _ = update(
            state,
            batch,
            num_items,
            key,
            np.int32(number),
            rates(number),
            teacher_batch,
            gather=gather,
        )
        return state

    return run_updates(
        state,
        make_update,
        lambda state: state.average,
        num_updates=num_updates,
        check_every=check_every,
        check=check,
    ).average


def log_popularity(interactions: csr_array, weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the centred log `(num_items,)` of each item's smoothed share of the interactions.

    As the bias of the output layer it makes the first softmax the popularity, which the bias could
    only reach slowly, by steps no larger than the learning rate.
    """
    counts = np.asarray(interactions.T @ weights, dtype=np.float64)
    bias = np.log1p(counts)
    return (bias - bias.mean() if len(bias) else bias).astype(np.float32)


def fresh_weights(
    interactions: csr_array, weights: NDArray[np.float64], *, hidden: int, latent: int, seed: int
) -> MVAEParameters:
    """Draw random weights; the bias is the items' popularity in `(num_rows, num_items)` rows."""
    num_items = interactions.shape[1]
    num_padded = pad_items(num_items)
    bias = np.pad(log_popularity(interactions, weights), (0, num_padded - num_items))
    parameters: MVAEParameters = initialise(
        make_key(seed),
        bias,
        np.int32(num_items),
        num_padded=num_padded,
        hidden=hidden,
        latent=latent,
    )
    return parameters


def warm_weights(previous: FittedMVAE, fresh: MVAEParameters, num_items: int) -> MVAEParameters:
    """Return the previous model's weights, and of `fresh` those of the items that are new."""
    num_known = previous.num_items
    arrays = previous.item_arrays()
    for name in ITEM_ARRAYS:
        new = np.asarray(getattr(fresh, name))[:num_items].copy()
        if name == "item_bias" and num_known:
            # A bias means something only relative to the others: bring the new ones to the level
            # that training has given to the old ones.
            new += (arrays[name] - new[:num_known]).mean()
        new[:num_known] = arrays[name]
        arrays[name] = new
    return pad_parameters(arrays, num_items)


def estimate_memory(
    num_items: int, num_rows: int, num_entries: int, *, hidden: int, latent: int, gather: bool
) -> int:
    """Estimate the bytes of a training: five copies of the weights, and the arrays of a batch.

    For 3,706 to 43,136 items it is 5% to 35% over what the compiled update allocates (measured).

    `num_rows` and `num_entries` are those of the largest batch, scored ones included.
    """
    width, height = pad_items(num_items), pad_rows(num_rows)
    weights = width * (2 * hidden + 1) + hidden * (3 * latent + 2) + 2 * latent
    # Rows, logits, their gradient and one temporary; a dense first layer adds two.
    batch = height * width * (4 if gather else 6)
    gathered = 2 * pad_entries(num_entries) * hidden if gather else 0
    return 4 * (_STATE_COPIES * weights + batch + gathered)
