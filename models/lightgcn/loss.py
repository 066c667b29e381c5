"""The losses of LightGCN on propagated representations, and their gradients, compiled once.

`softmax`: cross-entropy of a row's items under softmax(cos(row, item) / temperature) over all
items. It is the loss that sampled softmax approaches with many negatives (Wu et al., "On the
Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024): each update sees every
negative, so tens of updates do what BPR needs many thousands for.

`bpr`: −log σ(⟨row, item⟩ − ⟨row, negative⟩) with one random negative per entry, the loss of
LightGCN's authors.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32, Key
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mvae.network import densify
from perennial.models.training.batches import SparseBatch

Loss = Literal["softmax", "bpr"]
"""The loss that a training minimises."""

_SHORTEST = 1e-6
"""Vectors shorter than this are not scaled up to length 1: the zero vector stays, with a finite
gradient."""


@partial(jax.jit, static_argnames=("loss",))
def loss_gradients(
    rows: Float32[Array, "B dim"],
    items: Float32[Array, "I dim"],
    batch: SparseBatch,
    num_items: Int32[Array, ""],
    temperature: Float32[Array, ""],
    key: Key[Array, ""],
    number: Int32[Array, ""],
    *,
    loss: Loss,
) -> tuple[Float32[Array, ""], tuple[Float32[Array, "B dim"], Float32[Array, "I dim"]]]:
    """Compute the sum of the loss over a block's entries, and its gradients by rows and items.

    The values of the batch are the weights of the entries. Padding is zero, and `num_items` ≥ 1
    items are none. The negatives of `bpr` follow from the key of the whole training and the number
    of blocks before; the temperature > 0 is that of `softmax`.
    """

    def loss_of(rows: Array, items: Array) -> Array:
        if loss == "softmax":
            return _cross_entropy(rows, items, batch, num_items, temperature)
        return _pairwise(rows, items, batch, num_items, jax.random.fold_in(key, number))

    value, gradients = jax.value_and_grad(loss_of, argnums=(0, 1))(rows, items)
    return value, gradients


def _cross_entropy(
    rows: Array, items: Array, batch: SparseBatch, num_items: Array, temperature: Array
) -> Array:
    logits = _directions(rows) @ _directions(items).T / temperature
    known = jnp.arange(items.shape[0]) < num_items
    logits = jnp.where(known[None, :], logits, -jnp.inf)
    normaliser = jax.nn.logsumexp(logits, axis=1)
    of_entries = normaliser[batch.rows] - logits[batch.rows, batch.items]
    return jnp.sum(batch.values * of_entries)


def _pairwise(rows: Array, items: Array, batch: SparseBatch, num_items: Array, key: Array) -> Array:
    logits = rows @ items.T
    negatives = jax.random.randint(key, batch.items.shape, 0, num_items)
    # A negative that the row has does not count.
    counts = densify(batch, batch.values, items.shape[0])[batch.rows, negatives] == 0
    margins = logits[batch.rows, batch.items] - logits[batch.rows, negatives]
    return -jnp.sum(batch.values * counts.astype(jnp.float32) * jax.nn.log_sigmoid(margins))


def _directions(vectors: Array) -> Array:
    squares = jnp.sum(vectors**2, axis=1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, _SHORTEST**2))


def directions(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Scale rows to length 1; rows shorter than 1e-6 stay near zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(_SHORTEST))
    return scaled


def weigh_entries(interactions: csr_array, weights: NDArray[np.float64], loss: Loss) -> csr_array:
    """Compute the weight of each entry of `(num_rows, num_items)` in the loss; their sum is 1.

    With `softmax` the entries of a row share its weight by their values, so that rows count by
    their weights alone; with `bpr` an entry weighs its value times the row's weight, as LightGCN's
    authors draw entries. Entries and weights of rows are ≥ 0 and > 0.
    """
    rows = np.repeat(np.arange(interactions.shape[0]), np.diff(interactions.indptr))
    values = interactions.data.astype(np.float64)
    counts = values * weights[rows]
    if loss == "softmax":
        sums = np.bincount(rows, weights=values, minlength=interactions.shape[0])[rows]
        counts = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    total = float(counts.sum())
    counts = (counts / total if total else counts).astype(np.float32)
    return csr_array((counts, interactions.indices, interactions.indptr), interactions.shape)
