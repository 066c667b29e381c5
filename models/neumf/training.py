"""The training loop of NeuMF: sampled items, one jitted step, averaged weights, early stopping."""

from collections.abc import Callable
from dataclasses import dataclass
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
class NeuMFTrainingSettings:
    """How to train, however long.

    Attributes:
        batch_size: rows per update.
        num_candidates: items per update.
        learning_rate: Adam's.
        dropout: share of the entries that are hidden from the users' embeddings and asked for.
        negatives: weight of all absences together, in that of all entries.
        averaging: how much of the running average of the weights stays at each update.
    """

    batch_size: int
    num_candidates: int
    learning_rate: float
    dropout: float
    negatives: float
    averaging: float


class NeuMFRates(NamedTuple):
    """The numbers that rule an update; not compiled in, so that other ones cost nothing."""

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
    """One step of Adam on the log loss, and of the running average of the weights.

    Args:
        state: given up: its buffers become the result's.
        batch: the rows.
        candidates: the items.
        key: of the whole training; the update's own key is folded from it.
        number: scalar int32, updates made before this one.
        rates: the numbers that rule it.

    Returns:
        The next state and the loss.
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
    settings: NeuMFTrainingSettings,
    num_updates: int,
    seed: int,
    check_every: int = 0,
    check: Callable[[int, NeuMFParameters], bool] = lambda _number, _parameters: True,
) -> NeuMFParameters:
    """Train for `num_updates`, or until a check says stop.

    Args:
        parameters: where to start.
        rows: their weights count by their ratios.
        settings: of the updates.
        num_updates: at most so many.
        seed: of the order of the rows, the candidates and what is hidden.
        check_every: updates between checks; the last update is checked too; 0 for no checks.
        check: takes the updates made and the averaged weights; says whether to go on.

    Returns:
        The averaged weights after the last update made.
    """
    state: AveragedState[NeuMFParameters] = start(parameters)
    if rows.num_rows == 0 or rows.num_items == 0:
        return state.average
    scaled = scale_weights(rows.weights)
    usual = usual_entries(rows.interactions, min(settings.batch_size, rows.num_rows))
    generator = np.random.default_rng(derive_seed(seed, "order"))
    draw = np.random.default_rng(derive_seed(seed, "candidates"))
    batches = draw_row_numbers(rows.num_rows, settings.batch_size, generator)
    key = make_key(derive_seed(seed, "hidden"))
    rates = _rates(rows, settings)
    for number in range(num_updates):
        chosen = next(batches)
        batch = assemble(rows.interactions, chosen, settings.batch_size, scaled, usual)
        candidates = draw_candidates(batch, rows.num_items, settings.num_candidates, draw)
        state, _ = update(state, batch, candidates, key, np.int32(number), rates)
        made = number + 1
        due = check_every and (made % check_every == 0 or made == num_updates)
        # The buffers of the average are given up at the next update: what is kept is a copy.
        if due and not check(made, jax.tree.map(jnp.copy, state.average)):
            break
    return state.average


def draw_candidates(
    batch: SparseBatch, num_items: int, size: int, generator: np.random.Generator
) -> Candidates:
    """Items at random, none twice; all of them where they are no more than `size`.

    Args:
        batch: the rows of an update.
        num_items: ≥ 1, to draw from.
        size: C, the padded number of candidates.
        generator: draws.
    """
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
    """Random weights; the bias of an item is where the log loss is least without any other.

    As bias that is popularity, which would only be reached slowly by steps of the learning rate.

    Args:
        rows: the training rows.
        negatives: see `NeuMFTrainingSettings`.
        factors: width of the factors.
        embedding: of the tower's embeddings.
        hidden: units of the tower's first layer.
        seed: of the draw.
    """
    counts: NDArray[np.float64] = rows.interactions.T.astype(np.float64) @ rows.weights
    absent = _negative_weight(rows, negatives) * (rows.weights.sum() - counts)
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
    settings: NeuMFTrainingSettings,
    *,
    factors: int,
    embedding: int,
    hidden: int,
    score_rows: int,
) -> int:
    """Bytes that a training takes at most: copies of the weights, and the arrays of a batch.

    Args:
        interactions: the rows.
        settings: of the updates.
        factors: width of the factors.
        embedding: of the tower's embeddings.
        hidden: units of the tower's first layer.
        score_rows: rows that are scored at a time.
    """
    width = pad_items(interactions.shape[1])
    longest = np.sort(np.diff(interactions.indptr))[-settings.batch_size :]
    gathered = 3 * pad_entries(int(longest.sum())) * (factors + embedding)
    weights = width * (2 * factors + 2 * embedding + 1) + hidden * (2 * embedding + hidden)
    # Each layer, its gradient and one temporary; scores and what is asked.
    pairs = settings.batch_size * settings.num_candidates * (3 * hidden + 3 * hidden // 2 + 6)
    scored = pad_rows(score_rows) * width * (2 * hidden + 4)
    return 4 * ((_STATE_COPIES + 2) * weights + gathered + max(pairs, scored))


def _negative_weight(rows: TrainingRows, negatives: float) -> float:
    """ω, with which all absences weigh `negatives` times what all entries do."""
    present = float(rows.interactions.sum())
    absent = rows.num_rows * rows.num_items - present
    return negatives * max(present, 1.0) / max(absent, 1.0)


def _rates(rows: TrainingRows, settings: NeuMFTrainingSettings) -> NeuMFRates:
    return NeuMFRates(
        np.float32(settings.learning_rate),
        np.float32(settings.dropout),
        np.float32(settings.averaging),
        np.float32(_negative_weight(rows, settings.negatives)),
        np.float32(rows.num_items),
    )
