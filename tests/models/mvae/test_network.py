"""The network against a naive dense one, and what padding and gathering must leave alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from perennial.models.mvae.network import (
    MVAEParameters,
    divergence,
    drop,
    encode,
    initialise,
    negative_bound,
    normalise,
    score,
)
from perennial.models.training.batches import SparseBatch, assemble

NUM_ROWS, NUM_ITEMS, HIDDEN, LATENT = 5, 33, 8, 3


@pytest.fixture
def matrix() -> csr_array:
    rows = random_array((NUM_ROWS, NUM_ITEMS), density=0.2, rng=np.random.default_rng(1))
    return csr_array(rows.astype(np.float32))


def _draw(num_padded: int, seed: int = 4) -> MVAEParameters:
    bias = np.linspace(-1, 1, NUM_ITEMS, dtype=np.float32)
    return initialise(
        jax.random.key(seed),
        jnp.asarray(np.pad(bias, (0, num_padded - NUM_ITEMS))),
        np.int32(NUM_ITEMS),
        num_padded=num_padded,
        hidden=HIDDEN,
        latent=LATENT,
    )


@partial(jax.jit, static_argnames=("gather",))
def _bound(parameters: MVAEParameters, batch: SparseBatch, *, gather: bool, dropout: float = 0.0):
    return negative_bound(
        parameters,
        batch,
        jnp.int32(NUM_ITEMS),
        jnp.float32(0.3),
        jax.random.key(7),
        dropout=jnp.float32(dropout),
        gather=gather,
    )


_gradient = jax.jit(jax.value_and_grad(_bound), static_argnames=("gather",))


@jax.jit
@jax.value_and_grad
def _naive_bound(parameters: MVAEParameters, rows: jax.Array, weights: jax.Array, noise: jax.Array):
    """Equation by equation on dense rows, one user at a time, as the paper writes it."""

    def bound_of(row: jax.Array, epsilon: jax.Array) -> jax.Array:
        length = jnp.sqrt((row**2).sum())
        hidden = jnp.tanh(row / length @ parameters.encoder_items + parameters.encoder_bias)
        outputs = hidden @ parameters.latent_weights + parameters.latent_bias
        mean, log_variance = outputs[:LATENT], outputs[LATENT:]
        deviation = jnp.sqrt(jnp.exp(log_variance))
        latent = mean + deviation * epsilon
        back = jnp.tanh(latent @ parameters.decoder_weights + parameters.decoder_bias)
        logits = parameters.decoder_items @ back + parameters.item_bias
        probabilities = jnp.exp(logits) / jnp.exp(logits).sum()
        likelihood = (row * jnp.log(probabilities)).sum()
        kl = (-jnp.log(deviation) + (deviation**2 + mean**2) / 2 - 0.5).sum()
        return 0.3 * kl - likelihood

    return (weights * jax.vmap(bound_of)(rows, noise)).mean()


@pytest.mark.parametrize("gather", [False, True])
def test_bound_and_gradient_agree_with_a_naive_dense_network(matrix: csr_array, gather: bool):
    parameters = _draw(NUM_ITEMS)
    weights = np.array([1.0, 2.0, 0.5, 1.0, 0.25], dtype=np.float32)
    batch = assemble(matrix, np.arange(NUM_ROWS), NUM_ROWS, weights)
    noise = jax.random.normal(jax.random.split(jax.random.key(7))[1], (NUM_ROWS, LATENT))
    expected, expected_gradient = _naive_bound(
        parameters, jnp.asarray(matrix.toarray()), jnp.asarray(weights), noise
    )
    found, gradient = _gradient(parameters, batch, gather=gather)
    assert np.isclose(found, expected, rtol=1e-5)
    for name, values in gradient._asdict().items():
        np.testing.assert_allclose(
            values, getattr(expected_gradient, name), rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_divergence_agrees_with_samples():
    mean, log_variance = np.array([[0.5, -1.0]]), np.array([[0.4, -0.7]])
    deviation = np.exp(0.5 * log_variance)
    samples = mean + deviation * np.random.default_rng(0).normal(size=(400_000, 2))
    log_ratio = 0.5 * (samples**2 - ((samples - mean) / deviation) ** 2) - np.log(deviation)
    estimate, error = log_ratio.sum(axis=1).mean(), log_ratio.sum(axis=1).std() / 400_000**0.5
    found = divergence(jnp.asarray(mean, jnp.float32), jnp.asarray(log_variance, jnp.float32))
    assert abs(float(found[0]) - estimate) < 5 * error


def test_normalised_rows_have_length_one_and_empty_rows_stay_empty():
    matrix = csr_array(np.array([[3, 4, 0], [0, 0, 0], [0, 0, 0.5]], dtype=np.float32))
    batch = assemble(matrix, np.arange(3), 3)
    np.testing.assert_allclose(np.asarray(normalise(batch))[:3], [0.6, 0.8, 1.0], rtol=1e-6)


@pytest.mark.parametrize("gather", [False, True])
def test_padding_changes_neither_bound_nor_gradient_nor_weights(matrix: csr_array, gather: bool):
    plain, padded = _draw(NUM_ITEMS), _draw(48)
    batch = assemble(matrix, np.arange(NUM_ROWS), NUM_ROWS)
    longer = SparseBatch(
        rows=jnp.pad(batch.rows, (0, 9)),
        items=jnp.pad(batch.items, (0, 9)),
        values=jnp.pad(batch.values, (0, 9)),
        weights=jnp.pad(batch.weights, (0, 3)),
    )
    expected, expected_gradient = _gradient(plain, batch, gather=gather, dropout=0.5)
    found, gradient = _gradient(padded, longer, gather=gather, dropout=0.5)
    assert np.isclose(found, expected, rtol=1e-5)
    for name, values in expected_gradient._asdict().items():
        padded_values = np.asarray(getattr(gradient, name))
        same = padded_values[: len(values)]
        np.testing.assert_allclose(same, values, rtol=1e-4, atol=1e-6, err_msg=name)
        assert not padded_values[len(values) :].any()
    for name, values in plain._asdict().items():
        padded_values = np.asarray(getattr(padded, name))
        assert np.array_equal(padded_values[: len(values)], values), name
        assert not padded_values[len(values) :].any()


def test_dropout_keeps_the_expectation_of_the_first_layer(matrix: csr_array):
    parameters, batch = _draw(NUM_ITEMS), assemble(matrix, np.arange(NUM_ROWS), NUM_ROWS)
    keys = jax.random.split(jax.random.key(5), 400)
    # With tiny weights the network is linear, so dropped inputs average to the undropped ones.
    tiny = parameters._replace(encoder_items=parameters.encoder_items * 1e-2)

    def means_of(inputs: jax.Array) -> jax.Array:
        return encode(tiny, batch, inputs, gather=False)[0]

    means = jax.jit(jax.vmap(lambda key: means_of(drop(normalise(batch), key, jnp.float32(0.5)))))(
        keys
    )
    expected = means_of(normalise(batch))
    found = np.asarray(means)
    error = found.std(axis=0) / len(keys) ** 0.5
    assert (np.abs(found.mean(axis=0) - np.asarray(expected)) < 5 * error + 1e-7).all()


def test_scores_are_log_probabilities_at_the_mean_latent_vector(matrix: csr_array):
    parameters, batch = _draw(NUM_ITEMS), assemble(matrix, np.arange(NUM_ROWS), NUM_ROWS)
    given = MVAEParameters(*map(np.asarray, parameters))
    rows = matrix.toarray() / np.linalg.norm(matrix.toarray(), axis=1, keepdims=True)
    hidden = np.tanh(rows @ given.encoder_items + given.encoder_bias)
    latent = (hidden @ given.latent_weights + given.latent_bias)[:, :LATENT]
    back = np.tanh(latent @ given.decoder_weights + given.decoder_bias)
    logits = back @ given.decoder_items.T + given.item_bias
    expected = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    for gather in (False, True):
        found = np.asarray(score(parameters, batch, np.int32(NUM_ITEMS), gather=gather))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
