"""The network of Mult-VAE as pure functions on arrays: its parameters, its loss, its scores.

Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018: encoder
|I| – hidden – 2·latent, decoder latent – hidden – |I|, tanh between, multinomial likelihood.

Every item axis is padded from `num_items` to a bucket, so that a growing catalogue keeps its
compiled code. A padded item is in no row and is left out of the softmax, so its parameters
get exactly zero gradient and stay as they were.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32, Int32, Key

from perennial.models.training.batches import SparseBatch


class MVAEParameters(NamedTuple):
    """The weights, all float32; I is the padded number of items.

    Attributes:
        encoder_items: `(I, hidden)`, one row per item.
        encoder_bias: `(hidden,)`.
        latent_weights: `(hidden, 2·latent)`, to the mean and the log-variance.
        latent_bias: `(2·latent,)`.
        decoder_weights: `(latent, hidden)`.
        decoder_bias: `(hidden,)`.
        decoder_items: `(I, hidden)`, one row per item.
        item_bias: `(I,)`.
    """

    encoder_items: Array
    encoder_bias: Array
    latent_weights: Array
    latent_bias: Array
    decoder_weights: Array
    decoder_bias: Array
    decoder_items: Array
    item_bias: Array


class TeacherBatch(NamedTuple):
    """Replayed rows and what the model before expects of them.

    Attributes:
        batch: the rows; their weights are those of the distillation relative to the new rows.
        expected: `(B, I)` ≥ 0, the teacher's probabilities times the row's sum: the row spread as
            the teacher would; 0 on items that it cannot score.
        num_known: scalar int32, the items that the teacher can score.
    """

    batch: SparseBatch
    expected: Array
    num_known: Array


@partial(jax.jit, static_argnames=("num_padded", "hidden", "latent"))
def initialise(
    key: Key[Array, ""],
    item_bias: Float32[Array, " num_padded"],
    num_items: Int32[Array, ""],
    *,
    num_padded: int,
    hidden: int,
    latent: int,
) -> MVAEParameters:
    """Draw Glorot normal matrices; `num_items` of `num_padded` are known.

    The weights of an item do not depend on `num_padded`.
    """
    keys = jax.random.split(key, 4)
    known = (jnp.arange(num_padded) < num_items)[:, None]
    item_scale = jnp.sqrt(2.0 / (num_items + hidden).astype(jnp.float32))

    def draw_items(which: int) -> Array:
        normal = jax.random.normal(keys[which], (num_padded, hidden), dtype=jnp.float32)
        return jnp.where(known, item_scale * normal, 0.0)

    def draw(which: int, rows: int, columns: int, widths: int) -> Array:
        scale = math.sqrt(2.0 / widths)
        normal: Array = jax.random.normal(keys[which], (rows, columns), dtype=jnp.float32)
        return scale * normal

    def zeros(width: int) -> Array:
        return jnp.zeros(width, dtype=jnp.float32)

    return MVAEParameters(
        encoder_items=draw_items(0),
        encoder_bias=zeros(hidden),
        # Mean and log-variance are two layers side by side, each with its own Glorot scale.
        latent_weights=draw(1, hidden, 2 * latent, hidden + latent),
        latent_bias=zeros(2 * latent),
        decoder_weights=draw(2, latent, hidden, latent + hidden),
        decoder_bias=zeros(hidden),
        decoder_items=draw_items(3),
        item_bias=item_bias.astype(jnp.float32),
    )


def densify(
    batch: SparseBatch, values: Float32[Array, " N"], num_padded: int
) -> Float32[Array, "B {num_padded}"]:
    """Lay the entries of a batch out as a dense matrix."""
    empty = jnp.zeros((batch.weights.shape[0], num_padded), dtype=jnp.float32)
    filled: Array = empty.at[batch.rows, batch.items].add(values)
    return filled


def normalise(batch: SparseBatch) -> Float32[Array, " N"]:
    """Return the entries' values with each row scaled to length 1; an empty row stays empty."""
    squares = jnp.zeros_like(batch.weights).at[batch.rows].add(batch.values**2)
    scales = jnp.where(squares > 0, jax.lax.rsqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return batch.values * scales[batch.rows]


def drop(
    values: Float32[Array, " N"], key: Key[Array, ""], share: Float32[Array, ""]
) -> Float32[Array, " N"]:
    """Set a random share of the values to zero and scale the others up to the same expectation."""
    drawn = jax.random.uniform(key, values.shape, dtype=jnp.float32)
    return jnp.where(drawn < share, 0.0, values / (1.0 - share))


def project(
    item_weights: Float32[Array, "I hidden"],
    batch: SparseBatch,
    values: Float32[Array, " N"],
    gather: bool,
) -> Float32[Array, "B hidden"]:
    """Multiply sparse rows, with the given values of their entries, by the first layer's matrix.

    With `gather` the rows of `item_weights` that the entries name are gathered, and their gradient
    is scattered, instead of a dense product: work ∝ N instead of B·I.
    """
    if not gather:
        return densify(batch, values, item_weights.shape[0]) @ item_weights
    parts = values[:, None] * item_weights[batch.items]
    empty = jnp.zeros((batch.weights.shape[0], item_weights.shape[1]), dtype=jnp.float32)
    sums: Array = empty.at[batch.rows].add(parts)
    return sums


def encode(
    parameters: MVAEParameters, batch: SparseBatch, values: Float32[Array, " N"], gather: bool
) -> tuple[Float32[Array, "B latent"], Float32[Array, "B latent"]]:
    """Compute the mean and log-variance of q(z | x) from normalised values, dropped or not."""
    inputs = project(parameters.encoder_items, batch, values, gather)
    hidden = jnp.tanh(inputs + parameters.encoder_bias[None, :])
    outputs = hidden @ parameters.latent_weights + parameters.latent_bias[None, :]
    mean, log_variance = jnp.split(outputs, 2, axis=1)
    return mean, log_variance


def decode(parameters: MVAEParameters, latent: Float32[Array, "B latent"]) -> Float32[Array, "B I"]:
    """Compute unnormalised log-probabilities of the items; those of padding have no meaning."""
    hidden = jnp.tanh(latent @ parameters.decoder_weights + parameters.decoder_bias[None, :])
    return hidden @ parameters.decoder_items.T + parameters.item_bias[None, :]


def normaliser(logits: Float32[Array, "B I"], num_items: Int32[Array, ""]) -> Float32[Array, " B"]:
    """Compute log Σ_i exp(logits_i) over the items that are not padding."""
    known = jnp.arange(logits.shape[1]) < num_items
    return jax.nn.logsumexp(jnp.where(known[None, :], logits, -jnp.inf), axis=1)


def log_likelihood(
    rows: Float32[Array, "B I"], logits: Float32[Array, "B I"], num_items: Int32[Array, ""]
) -> Float32[Array, " B"]:
    """Multinomial log-likelihood Σ_i x_i log softmax(logits)_i without its constant.

    The rows x ≥ 0 are zero on items that are padding, from `num_items` on.
    """
    return (rows * logits).sum(axis=1) - rows.sum(axis=1) * normaliser(logits, num_items)


def divergence(
    mean: Float32[Array, "B latent"], log_variance: Float32[Array, "B latent"]
) -> Float32[Array, " B"]:
    """KL( N(mean, exp(log_variance)) ‖ N(0, 1) ), summed over the latent axis."""
    return 0.5 * (jnp.exp(log_variance) + mean**2 - 1.0 - log_variance).sum(axis=1)


def _noisy_logits(
    parameters: MVAEParameters,
    batch: SparseBatch,
    key: Key[Array, ""],
    dropout: Float32[Array, ""],
    gather: bool,
) -> tuple[Float32[Array, "B I"], Float32[Array, "B latent"], Float32[Array, "B latent"]]:
    """Compute logits of dropped inputs and a drawn latent vector; the mean and log-variance."""
    dropout_key, noise_key = jax.random.split(key)
    inputs = drop(normalise(batch), dropout_key, dropout)
    mean, log_variance = encode(parameters, batch, inputs, gather)
    noise = jax.random.normal(noise_key, mean.shape, dtype=jnp.float32)
    return decode(parameters, mean + jnp.exp(0.5 * log_variance) * noise), mean, log_variance


def negative_bound(
    parameters: MVAEParameters,
    batch: SparseBatch,
    num_items: Int32[Array, ""],
    beta: Float32[Array, ""],
    key: Key[Array, ""],
    *,
    dropout: Float32[Array, ""],
    gather: bool,
) -> Float32[Array, ""]:
    """Negative evidence lower bound with β on its divergence, Σ_u w_u (−log p + β KL) / B.

    Args:
        parameters: the weights.
        batch: the rows, their weights scaled to mean 1 over the data.
        num_items: number of items that are not padding.
        beta: β, the weight of the divergence.
        key: key of the dropout and the latent noise.
        dropout: share of the input entries that are dropped, in [0, 1).
        gather: see `project`.

    Returns:
        The loss; rows that are padding count neither in the sum nor in B.
    """
    logits, mean, log_variance = _noisy_logits(parameters, batch, key, dropout, gather)
    rows = densify(batch, batch.values, logits.shape[1])
    losses = beta * divergence(mean, log_variance) - log_likelihood(rows, logits, num_items)
    num_rows = jnp.maximum((batch.weights > 0).sum(), 1).astype(jnp.float32)
    return (batch.weights * losses).sum() / num_rows


def distillation_loss(
    parameters: MVAEParameters,
    teacher_batch: TeacherBatch,
    key: Key[Array, ""],
    *,
    dropout: Float32[Array, ""],
    gather: bool,
) -> Float32[Array, ""]:
    """Cross-entropy to a teacher's expectation of replayed rows, Σ_u w_u (−Σ_i t_ui log p_ui) / B.

    p is the softmax over the items of the teacher only (Mi, Lin & Faltings, RecSys 2020:
    the new logits are cut to the old items). See `negative_bound` for the arguments.
    """
    logits, _, _ = _noisy_logits(parameters, teacher_batch.batch, key, dropout, gather)
    losses = -log_likelihood(teacher_batch.expected, logits, teacher_batch.num_known)
    num_rows = jnp.maximum((teacher_batch.batch.weights > 0).sum(), 1).astype(jnp.float32)
    return (teacher_batch.batch.weights * losses).sum() / num_rows


@partial(jax.jit, static_argnames=("gather",))
def score(
    parameters: MVAEParameters, batch: SparseBatch, num_items: Int32[Array, ""], *, gather: bool
) -> Float32[Array, "B I"]:
    """Compute the log-probability of each item at the mean of q(z | x); no dropout, no noise.

    The logits rank alike, but are not comparable between rows. From `num_items` on the values have
    no meaning.
    """
    mean, _ = encode(parameters, batch, normalise(batch), gather)
    logits = decode(parameters, mean)
    return logits - normaliser(logits, num_items)[:, None]


@partial(jax.jit, static_argnames=("gather",))
def represent(
    parameters: MVAEParameters, batch: SparseBatch, *, gather: bool
) -> Float32[Array, "B latent"]:
    """Compute the mean of q(z | x) of each row; no dropout."""
    mean, _ = encode(parameters, batch, normalise(batch), gather)
    return mean
