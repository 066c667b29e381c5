"""Training of LightGCN: propagate, take the loss's gradient, propagate it back, make a step."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.lightgcn.graph import Graph, Propagated, pad_first
from perennial.models.lightgcn.loss import Loss, loss_gradients, weigh_entries
from perennial.models.training.batches import (
    SparseBatch,
    assemble,
    draw_row_numbers,
    make_key,
    pad_entries,
    pad_items,
    pad_rows,
    usual_entries,
)
from perennial.models.training.loop import Check, run_updates
from perennial.storage.base import derive_seed

BLOCK_ROWS = 1024
"""Rows whose logits exist at a time."""

_FIRST_SPREAD = 0.1
"""Standard deviation of fresh embeddings, as in the authors' code."""


@dataclass(frozen=True)
class LightGCNTrainingSettings:
    """Settings of the updates, as in `LightGCN`; `bpr` has no temperature."""

    loss: Loss
    layers: int
    temperature: float
    dim: int
    learning_rate: float
    l2: float
    batch_rows: int
    batch_items: int


class LightGCNState(NamedTuple):
    """State of a training: the items' embeddings, padded, and Adam's moments."""

    items: Array
    moments: optax.OptState


class Block(NamedTuple):
    """Rows of an update: their numbers, and their entries among the update's items."""

    numbers: NDArray[np.int64]
    batch: SparseBatch


class Draw(NamedTuple):
    """Rows and items of an update.

    Attributes:
        items: `(c,)` int64, ascending.
        blocks: rows and their entries among these items.
        share: of all pairs of a row and an item, in (0, 1].
    """

    items: NDArray[np.int64]
    blocks: tuple[Block, ...]
    share: float


def train(
    graph: Graph,
    interactions: csr_array,
    weights: NDArray[np.float64],
    *,
    settings: LightGCNTrainingSettings,
    num_updates: int,
    seed: int,
    check_every: int = 0,
    check: Check[Propagated] | None = None,
) -> Propagated:
    """Train for `num_updates`, or until a check ends it; return the last representations.

    `graph` is that of the interactions `(num_rows, num_items)` float32; the weights `(num_rows,)` >
    0 are those of the rows in the loss. A check takes the propagated embeddings.
    """
    num_rows, num_items = interactions.shape
    no_rows = np.zeros((num_rows, settings.dim), dtype=np.float32)
    key = make_key(derive_seed(seed, "negatives"))
    draws = draw_updates(weigh_entries(interactions, weights, settings.loss), settings, seed)

    def propagate(state: LightGCNState) -> tuple[LightGCNState, Propagated]:
        embeddings = np.asarray(state.items)[:num_items]
        return state, graph.propagate(no_rows, embeddings, settings.layers)

    def make_update(
        pair: tuple[LightGCNState, Propagated], number: int
    ) -> tuple[LightGCNState, Propagated]:
        state, now = pair
        _, by_rows, by_items = gradients(now, next(draws), settings, key, number)
        back = graph.propagate(by_rows, by_items, settings.layers)
        gradient = jnp.asarray(pad_first(back.items, state.items.shape[0]))
        rates = np.float32(settings.learning_rate), np.float32(settings.l2)
        return propagate(move(state, gradient, *rates))

    first = first_embeddings(num_items, settings.dim, derive_seed(seed, "embeddings"))
    _, last = run_updates(
        propagate(start(first)),
        make_update,
        lambda pair: pair[1],
        num_updates=num_updates if interactions.nnz else 0,
        check_every=check_every,
        check=check,
    )
    return last


def first_embeddings(num_items: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Draw normal numbers `(num_items, dim)`; an item's are the same in a longer catalogue."""
    normal = np.random.default_rng(seed).standard_normal((num_items, dim), dtype=np.float32)
    return np.float32(_FIRST_SPREAD) * normal


def start(embeddings: NDArray[np.float32]) -> LightGCNState:
    """Return the state before the first update, from `(num_items, dim)` embeddings."""
    items = jnp.asarray(pad_first(embeddings, pad_items(len(embeddings))))
    return LightGCNState(items, optax.adam(0.0).init(items))


@jax.jit
def move(state: LightGCNState, gradient: Array, learning_rate: Array, l2: Array) -> LightGCNState:
    """Make one step of Adam with a gradient `(I, dim)`; padding has none and stays zero."""
    with jax.numpy_dtype_promotion("standard"):  # Optax divides by its int32 count.
        steps, moments = optax.adam(learning_rate).update(
            gradient + l2 * state.items, state.moments
        )
    return LightGCNState(optax.apply_updates(state.items, steps), moments)


def gradients(
    now: Propagated, draw: Draw, settings: LightGCNTrainingSettings, key: Array, number: int
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Compute the loss, and its gradients by the representations of all rows and all items.

    The loss of the draw estimates that of all pairs. The key is that of the training, `number` the
    updates before. The gradients are `(num_rows, dim)` and `(num_items, dim)`.
    """
    by_rows, by_items, loss = np.zeros_like(now.rows), np.zeros_like(now.items), 0.0
    items = jnp.asarray(pad_first(now.items[draw.items], pad_items(len(draw.items))))
    for place, (numbers, batch) in enumerate(draw.blocks):
        value, (block_rows, block_items) = loss_gradients(
            jnp.asarray(pad_first(now.rows[numbers], batch.weights.shape[0])),
            items,
            batch,
            np.int32(len(draw.items)),
            np.float32(settings.temperature),
            key,
            np.int32(number * len(draw.blocks) + place),
            loss=settings.loss,
        )
        by_rows[numbers] = np.asarray(block_rows)[: len(numbers)]
        by_items[draw.items] += np.asarray(block_items)[: len(draw.items)]
        loss += float(value)
    scale = np.float32(1.0 / draw.share)
    return loss / draw.share, scale * by_rows, scale * by_items


def draw_updates(
    entries: csr_array, settings: LightGCNTrainingSettings, seed: int
) -> Iterator[Draw]:
    """Yield the rows and items of each update on `(num_rows, num_items)` entries: all or a draw.

    The softmax over items at random is the likelihood of an entry given that it is one of them,
    which the same representations maximise.
    """
    num_rows, num_items = entries.shape
    size, width = min(num_rows, settings.batch_rows), min(num_items, settings.batch_items)
    if size == num_rows and width == num_items:
        everything = (np.arange(num_rows), np.arange(num_items))
        yield from repeat(_take(entries, *everything))
    generator = np.random.default_rng(derive_seed(seed, "draws"))
    passes = draw_row_numbers(num_rows, size, generator)
    while True:
        items = np.sort(generator.choice(num_items, size=width, replace=False))
        yield _take(entries, np.sort(next(passes)), items)


def _take(entries: csr_array, rows: NDArray[np.int64], items: NDArray[np.int64]) -> Draw:
    num_rows, num_items = entries.shape
    part = entries[rows]
    if len(items) < num_items:
        part = part[:, items]
    height = min(BLOCK_ROWS, pad_rows(len(rows)))
    usual = usual_entries(part, height)
    blocks = []
    for first in range(0, len(rows), height):
        chosen = np.arange(first, min(first + height, len(rows)))
        blocks.append(Block(rows[chosen], assemble(part, chosen, height, None, usual)))
    share = len(rows) / num_rows * len(items) / num_items
    return Draw(items, tuple(blocks), share)


def estimate_memory(
    num_rows: int, num_items: int, num_entries: int, *, dim: int, batch_items: int, on_device: bool
) -> int:
    """Estimate the bytes of a training, its first scores included.

    An update takes the loss over `batch_items`. On an accelerator propagation gathers a vector for
    each edge.
    """
    width = pad_items(min(num_items, batch_items))
    # The rows given and held out of, the edges twice, what entries count, and them in blocks.
    sparse = 12 * 8 * num_entries
    # Representations, gradients and the sums on the way; the best so far and the model.
    dense = 4 * dim * (12 * num_rows + 16 * pad_items(num_items))
    logits = 4 * BLOCK_ROWS * 5 * width
    gathered = 4 * dim * 2 * pad_entries(num_entries) if on_device else 0
    return sparse + dense + logits + gathered
