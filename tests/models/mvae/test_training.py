"""The training loop: its schedule, its average, when it stops and when it compiles."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.sparse import csr_array, random_array

from perennial.models.mvae import training as mvae_training
from perennial.models.mvae.model import FittedMVAE
from perennial.models.mvae.network import MVAEParameters, negative_bound
from perennial.models.mvae.recipe import MVAE
from perennial.models.mvae.training import (
    fresh_weights,
    log_popularity,
    train,
    update,
    warm_weights,
)
from perennial.models.training.batches import assemble, make_key, scale_weights
from perennial.models.training.loop import start

RECIPE = MVAE(
    learning_rate=0.01, dropout=0.5, averaging=0.9, beta=0.2, anneal_share=0.4, max_updates=10
)


@jax.jit
def _bound(parameters, batch, beta, key, dropout):
    num_items = jnp.int32(20)
    return negative_bound(parameters, batch, num_items, beta, key, dropout=dropout, gather=False)


_gradient = jax.jit(jax.grad(_bound))


def _matrix(num_items: int = 20, num_rows: int = 12) -> csr_array:
    rows = random_array((num_rows, num_items), density=0.25, rng=np.random.default_rng(1))
    return csr_array(rows.astype(np.float32))


def _first(matrix: csr_array, seed: int = 3) -> MVAEParameters:
    return fresh_weights(matrix, np.ones(matrix.shape[0]), hidden=8, latent=3, seed=seed)


def _train(matrix: csr_array, num_updates: int, **changes: object) -> MVAEParameters:
    arguments = {"batch_size": 8, "seed": 5} | changes
    weights = np.ones(matrix.shape[0])
    return train(
        _first(matrix),
        matrix,
        weights,
        rates=RECIPE.rates,
        gather=False,
        num_updates=num_updates,
        **arguments,
    )


def test_beta_grows_linearly_and_stays():
    betas = [RECIPE.rates(number).beta for number in range(6)]
    assert np.allclose(betas, [0.05, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert replace(RECIPE, anneal_share=0.0).rates(0).beta == np.float32(0.2)


def test_an_update_is_a_step_of_adam_and_of_the_average():
    matrix = _matrix()
    parameters, batch = _first(matrix), assemble(matrix, np.arange(8), 8)
    key, beta = make_key(1), np.float32(0.2)
    gradient = _gradient(parameters, batch, beta, jax.random.fold_in(key, 95), np.float32(0.5))
    optimiser = optax.adam(0.01)

    @jax.jit
    def step(parameters: MVAEParameters, gradient: MVAEParameters) -> MVAEParameters:
        with jax.numpy_dtype_promotion("standard"):  # Optax divides by its int32 count.
            steps, _ = optimiser.update(gradient, optimiser.init(parameters))
        return optax.apply_updates(parameters, steps)

    expected = step(parameters, gradient)
    state, _ = update(
        start(parameters), batch, np.int32(20), key, np.int32(95), RECIPE.rates(95), gather=False
    )
    for name in MVAEParameters._fields:
        before, after = np.asarray(getattr(parameters, name)), getattr(expected, name)
        np.testing.assert_allclose(getattr(state.parameters, name), after, atol=1e-5)
        average = before + 0.1 * (np.asarray(after) - before)
        np.testing.assert_allclose(getattr(state.average, name), average, atol=1e-5)


def test_a_check_is_made_regularly_and_at_the_end_and_stops_the_training():
    matrix = _matrix()
    made: list[int] = []
    _train(matrix, 7, check_every=3, check=lambda number, _: made.append(number) or True)
    assert made == [3, 6, 7]
    stopped = _train(matrix, 7, check_every=3, check=lambda number, _: number < 3)
    assert np.array_equal(stopped.item_bias, _train(matrix, 3).item_bias)


def test_weight_two_is_two_copies():
    """Without dropout and latent noise, the loss is that of the row standing there twice."""
    matrix = _matrix(num_rows=2)
    parameters = _first(matrix)
    parameters = parameters._replace(
        latent_weights=parameters.latent_weights.at[:, 3:].set(0.0),
        latent_bias=parameters.latent_bias.at[3:].set(-80.0),
    )

    def loss(rows: list[int], weights: list[float]) -> float:
        scaled = np.zeros(2, dtype=np.float32)
        scaled[rows] = scale_weights(np.array(weights))
        batch = assemble(matrix, np.array(rows), 8, scaled)
        return float(_bound(parameters, batch, np.float32(0.2), make_key(9), np.float32(0)))

    assert np.isclose(loss([0, 1], [2.0, 1.0]), loss([0, 0, 1], [1.0, 1.0, 1.0]), rtol=1e-5)
    assert not np.isclose(loss([0, 1], [2.0, 1.0]), loss([0, 1], [1.0, 1.0]), rtol=1e-3)


def test_a_growing_catalogue_compiles_once_per_bucket(monkeypatch: pytest.MonkeyPatch):
    traces: list[tuple[int, ...]] = []

    def counting(parameters: MVAEParameters, batch: object, *arguments: object, **settings: object):
        traces.append(parameters.item_bias.shape)
        return negative_bound(parameters, batch, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(mvae_training, "negative_bound", counting)
    for num_items in (250, 253, 256):
        _train(csr_array(np.eye(num_items, dtype=np.float32)), 3, batch_size=4)
    assert traces == [(256,)]


def _fresh(num_items: int, seed: int):
    matrix = csr_array(np.ones((3, num_items), dtype=np.float32))
    return fresh_weights(matrix, np.ones(3), hidden=6, latent=2, seed=seed)


def test_the_bias_is_the_centred_log_popularity():
    matrix = csr_array(np.array([[1, 1, 0], [1, 0, 0]], dtype=np.float32))
    bias = log_popularity(matrix, np.array([1.0, 3.0]))
    expected = np.log([5.0, 2.0, 1.0])
    np.testing.assert_allclose(bias, expected - expected.mean(), rtol=1e-6)
    assert not np.asarray(_fresh(5, 1).item_bias).any()


def test_fresh_weights_have_the_scale_of_their_layer():
    matrix = csr_array((1, 2000), dtype=np.float32)
    weights = fresh_weights(matrix, np.ones(1), hidden=100, latent=50, seed=1)
    for name, fan in (("encoder_items", 2100), ("decoder_items", 2100), ("latent_weights", 150)):
        deviation = np.asarray(getattr(weights, name))[:2000].std()
        assert np.isclose(deviation, np.sqrt(2 / fan), rtol=0.03), name


def test_warm_weights_keep_what_was_known_and_are_fresh_for_what_is_new():
    known = _fresh(9, 1)
    known = known._replace(item_bias=known.item_bias + 2.5, latent_bias=known.latent_bias + 1.0)
    fresh = _fresh(13, 2)
    warm = warm_weights(FittedMVAE(known, 9, gather=False, report={}), fresh, 13)
    for name in ("encoder_items", "decoder_items", "item_bias"):
        values = np.asarray(getattr(warm, name))
        assert np.array_equal(values[:9], np.asarray(getattr(known, name))[:9]), name
    for name in ("encoder_items", "decoder_items"):
        values = np.asarray(getattr(warm, name))
        assert np.array_equal(values[9:13], np.asarray(getattr(fresh, name))[9:13]), name
    np.testing.assert_allclose(np.asarray(warm.item_bias)[9:13], 2.5, rtol=1e-5)
    for name in ("encoder_bias", "latent_weights", "latent_bias", "decoder_weights"):
        assert np.array_equal(getattr(warm, name), getattr(known, name)), name
