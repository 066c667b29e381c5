"""NeuMF's network as pure functions on arrays: its parameters, its loss, its scores.

He et al., "Neural Collaborative Filtering", WWW 2017: a generalised matrix factorisation (GMF) and
a tower (MLP), each with embeddings of its own, and one output over both,

    s_ui = b_i + ⟨o, p_u ∘ q_i⟩ + ⟨o', relu(W₂ relu(A p'_u + B q'_i + b₁) + b₂)⟩.

A user's embeddings p_u and p'_u are sums of second embeddings of the user's items, divided by the
root of their number, as in FISM (Kabbur et al., KDD 2013) and DeepICF (Xue et al., TOIS 2019). The
tower's first layer is split into a user's and an item's part, so that no pair is ever
concatenated.

Every item axis is padded from `num_items` to a bucket, see `perennial.models.mvae.network`.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32, Int, Int32, Key

from perennial.models.mvae.network import normalise, project
from perennial.models.training.batches import SparseBatch


class NeuMFParameters(NamedTuple):
    """The weights, all float32; I is the padded number of items.

    Attributes:
        factor_users: `(I, F)`, an item's share in its users' p.
        factor_items: `(I, F)` q.
        tower_users: `(I, E)`, an item's share in its users' p'.
        tower_items: `(I, E)` q'.
        item_bias: `(I,)` b.
        factor_output: `(F,)` o.
        user_layer: `(E, H)` A.
        item_layer: `(E, H)` B.
        first_bias: `(H,)` b₁.
        second_layer: `(H, H/2)` W₂.
        second_bias: `(H/2,)` b₂.
        tower_output: `(H/2,)` o'.
    """

    factor_users: Array
    factor_items: Array
    tower_users: Array
    tower_items: Array
    item_bias: Array
    factor_output: Array
    user_layer: Array
    item_layer: Array
    first_bias: Array
    second_layer: Array
    second_bias: Array
    tower_output: Array


class Candidates(NamedTuple):
    """Items of an update, the same ones for all rows of its batch.

    Attributes:
        items: `(C,)` int32; padding has 0.
        known: `(C,)` float32, 1 for an item and 0 for padding.
        places: `(N,)` int32, for each entry of the batch the place of its item among the
            candidates; C if it is not among them.
    """

    items: Array
    known: Array
    places: Array


@partial(jax.jit, static_argnames=("num_padded", "factors", "embedding", "hidden"))
def initialise(
    key: Key[Array, ""],
    item_bias: Float32[Array, " num_padded"],
    num_items: Int32[Array, ""],
    *,
    num_padded: int,
    factors: int,
    embedding: int,
    hidden: int,
) -> NeuMFParameters:
    """Draw small normal embeddings and Glorot layers; `num_items` of `num_padded` are known.

    The widths F, E and H of `NeuMFParameters` are `factors`, `embedding` and `hidden`.
    """
    keys = iter(jax.random.split(key, 8))
    known = (jnp.arange(num_padded) < num_items)[:, None]

    def draw(rows: int, columns: int, scale: float) -> Array:
        normal: Array = jax.random.normal(next(keys), (rows, columns), dtype=jnp.float32)
        return scale * normal

    def embed(width: int) -> Array:
        return jnp.where(known, draw(num_padded, width, 0.1), 0.0)

    return NeuMFParameters(
        factor_users=embed(factors),
        factor_items=embed(factors),
        tower_users=embed(embedding),
        tower_items=embed(embedding),
        item_bias=item_bias.astype(jnp.float32),
        factor_output=jnp.ones(factors, jnp.float32),
        user_layer=draw(embedding, hidden, math.sqrt(2.0 / (embedding + hidden))),
        item_layer=draw(embedding, hidden, math.sqrt(2.0 / (embedding + hidden))),
        first_bias=jnp.zeros(hidden, jnp.float32),
        second_layer=draw(hidden, hidden // 2, math.sqrt(4.0 / (3 * hidden))),
        second_bias=jnp.zeros(hidden // 2, jnp.float32),
        tower_output=draw(1, hidden // 2, math.sqrt(2.0 / hidden))[0],
    )


def embed_users(
    parameters: NeuMFParameters, batch: SparseBatch
) -> tuple[Float32[Array, "B F"], Float32[Array, "B H"]]:
    """Compute the users' p and A p', a row each; zero for an empty row.

    A row is scaled to length 1, which for a binary one divides the sum by the root of its number.
    """
    values = normalise(batch)
    of_factors = project(parameters.factor_users, batch, values, True)
    of_tower = project(parameters.tower_users, batch, values, True)
    return of_factors, of_tower @ parameters.user_layer


def score_items(
    parameters: NeuMFParameters,
    users: tuple[Float32[Array, "B F"], Float32[Array, "B H"]],
    items: Int[Array, " C"],
) -> Float32[Array, "B C"]:
    """Score some of the items for each row of the result of `embed_users`."""
    of_factors, of_tower = users
    weighed = parameters.factor_items[items] * parameters.factor_output[None, :]
    added = parameters.tower_items[items] @ parameters.item_layer + parameters.first_bias[None, :]
    first = jax.nn.relu(of_tower[:, None, :] + added[None, :, :])
    second = jax.nn.relu(first @ parameters.second_layer + parameters.second_bias[None, None, :])
    scores: Array = of_factors @ weighed.T + second @ parameters.tower_output
    return scores + parameters.item_bias[items][None, :]


def log_loss(
    parameters: NeuMFParameters,
    batch: SparseBatch,
    candidates: Candidates,
    key: Key[Array, ""],
    *,
    dropout: Float32[Array, ""],
    negative_weight: Float32[Array, ""],
    num_items: Float32[Array, ""],
) -> Float32[Array, ""]:
    """Log loss of the entries that are hidden from the users' embeddings, and of all absences.

    The mean over the rows of

        w_u |I|/|C| Σ_{i ∈ C} [ h_ui x_ui softplus(−s_ui) / δ + ω (1 − x_ui) softplus(s_ui) ].

    A share δ = `dropout` in (0, 1) of the entries is hidden at random at each update (h = 1): if it
    had to predict the others, the network would learn to copy its input. The weights of the rows
    are scaled to mean 1 over the data, C are the candidates, ω is `negative_weight`, and |I| the
    number of items that are not padding.
    """
    drawn = jax.random.uniform(key, batch.values.shape, dtype=jnp.float32)
    hidden = (drawn < dropout).astype(jnp.float32)
    shown = batch._replace(values=batch.values * (1.0 - hidden))
    users = embed_users(parameters, shown)
    scores = score_items(parameters, users, candidates.items)
    empty = jnp.zeros(scores.shape, dtype=jnp.float32)
    where = (batch.rows, candidates.places)
    present = empty.at[where].add(batch.values, mode="drop")
    missing = empty.at[where].add(batch.values * hidden, mode="drop") / dropout
    losses = missing * jax.nn.softplus(-scores)
    losses += negative_weight * (1.0 - present) * jax.nn.softplus(scores)
    of_rows = (losses * candidates.known[None, :]).sum(axis=1) * num_items / candidates.known.sum()
    num_rows = jnp.maximum((batch.weights > 0).sum(), 1).astype(jnp.float32)
    return (batch.weights * of_rows).sum() / num_rows


@jax.jit
def score(parameters: NeuMFParameters, batch: SparseBatch) -> Float32[Array, "B I"]:
    """Score all items for each row; the scores of padding have no meaning."""
    items = jnp.arange(parameters.item_bias.shape[0])
    return score_items(parameters, embed_users(parameters, batch), items)
