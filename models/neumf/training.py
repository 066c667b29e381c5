"""Training of NeuMF: one compiled update on sampled items, and the memory that it takes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.models.neumf.network import Candidates, NeuMFParameters, initialise, log_loss
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


class NeuMFRates(NamedTuple):
    """Numbers of an update that are arguments of the compiled code, so that others reuse it."""

    learning_rate: np.float32
    dropout: np.float32
    averaging: np.float32
    negative_weight: np.float32
    num_items: np.float32


@partial(jax.jit, donate_argnames=("state",))
def update(
    state: AveragedState[NeuMFParameters],
    batch: SparseBatch,
    candidates: Candidates,
    key: Array,
    number: Array,
    rates: NeuMFRates,
) -> tuple[AveragedState[NeuMFParameters], Array]:
    """Make one step of Adam on the log loss, and of the running average; return state and loss.

    The buffers of `state` become the result's. The update's own key is folded from the `key` of the
    training and the `number` of updates before, an int32 scalar.
    """

    def loss_of(parameters: NeuMFParameters) -> Array:
        return log_loss(
            parameters,
            batch,
            candidates,
            jax.random.fold_in(key, number),
            dropout=jnp.asarray(rates.dropout),
            negative_weight=jnp.asarray(rates.negative_weight),
            num_items=jnp.asarray(rates.num_items),
        )

    loss, gradient = jax.value_and_grad(loss_of)(state.parameters)
    moved = step(
        state, gradient, number, learning_rate=rates.learning_rate, averaging=rates.averaging
    )
    return moved, loss


def train(
    parameters: NeuMFParameters,
    rows: TrainingRows,
    *,
    batch_size: int,
    num_candidates: int,
    rates: NeuMFRates,
    num_updates: int,
    seed: int,
    check_every: int = 0,
    check: Check[NeuMFParameters] | None = None,
) -> NeuMFParameters:
    """Train for `num_updates`, or until a check ends it; return the averaged weights then.

    Only the ratios of the rows' weights matter. A check may keep the averaged weights that it gets.
    """
    state: AveragedState[NeuMFParameters] = start(parameters)
    if rows.num_rows == 0 or rows.num_items == 0:
        return state.average
    order = derive_seed(seed, "order")
    batches = draw_batches(rows.interactions, rows.weights, batch_size, order)
    generator = np.random.default_rng(derive_seed(seed, "candidates"))
    key = make_key(derive_seed(seed, "hidden"))

    def make_update(
        state: AveragedState[NeuMFParameters], number: int
    ) -> AveragedState[NeuMFParameters]:
        batch = next(batches)
        candidates = draw_candidates(batch, rows.num_items, num_candidates, generator)
        state, _ = update(state, batch, candidates, key, np.int32(number), rates)
        return state

    return run_updates(
        state,
        make_update,
        # A copy: the next update overwrites the average.
        lambda state: jax.tree.map(jnp.copy, state.average),
        num_updates=num_updates,
        check_every=check_every,
        check=check,
    ).average


def draw_candidates(
    batch: SparseBatch, num_items: int, size: int, generator: np.random.Generator
) -> Candidates:
    """Draw C = `size` of `num_items` ≥ 1 items without replacement, or all if there are fewer."""
    if num_items <= size:
        items = np.arange(num_items)
    else:
        items = np.sort(generator.choice(num_items, size, replace=False))
    places = np.full(num_items, size, dtype=np.int32)
    places[items] = np.arange(len(items), dtype=np.int32)
    padding = (0, size - len(items))
    return Candidates(
        items=jnp.asarray(np.pad(items.astype(np.int32), padding)),
        known=jnp.asarray(np.pad(np.ones(len(items), np.float32), padding)),
        places=jnp.asarray(places[np.asarray(batch.items)]),
    )


def fresh_weights(
    rows: TrainingRows, negatives: float, *, factors: int, embedding: int, hidden: int, seed: int
) -> NeuMFParameters:
    """Draw random weights; the biases of the items minimise the log loss of a model of biases only.

    Such a bias is the item's popularity, which Adam's steps would reach slowly. `negatives` is the
    weight of all absences together, relative to that of all entries.
    """
    counts: NDArray[np.float64] = rows.interactions.T.astype(np.float64) @ rows.weights
    absent = negative_weight(rows, negatives) * (rows.weights.sum() - counts)
    bias = (np.log(counts + 0.5) - np.log(absent + 0.5)).astype(np.float32)
    num_padded = pad_items(rows.num_items)
    parameters: NeuMFParameters = initialise(
        make_key(seed),
        np.pad(bias, (0, num_padded - rows.num_items)),
        np.int32(rows.num_items),
        num_padded=num_padded,
        factors=factors,
        embedding=embedding,
        hidden=hidden,
    )
    return parameters


def estimate_memory(
    interactions: csr_array,
    *,
    batch_size: int,
    num_candidates: int,
    factors: int,
    embedding: int,
    hidden: int,
    score_rows: int,
) -> int:
    """Estimate the bytes of a training on `(num_rows, num_items)` interactions.

    They are copies of the weights, and the arrays of a batch, or of `score_rows` rows of scores.
    """
    width = pad_items(interactions.shape[1])
    longest = np.sort(np.diff(interactions.indptr))[-batch_size:]
    gathered = 3 * pad_entries(int(longest.sum())) * (factors + embedding)
    weights = width * (2 * factors + 2 * embedding + 1) + hidden * (2 * embedding + hidden)
    # Each layer, its gradient and one temporary; scores and hidden entries.
    pairs = batch_size * num_candidates * (3 * hidden + 3 * hidden // 2 + 6)
    scored = pad_rows(score_rows) * width * (2 * hidden + 4)
    return 4 * ((_STATE_COPIES + 2) * weights + gathered + max(pairs, scored))


def negative_weight(rows: TrainingRows, negatives: float) -> float:
    """Compute ω, for which all absences weigh `negatives` times as much as all entries."""
    present = float(rows.interactions.sum())
    absent = rows.num_rows * rows.num_items - present
    return negatives * max(present, 1.0) / max(absent, 1.0)
