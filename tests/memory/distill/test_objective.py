"""The inner fit against ∞-AE itself, the losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.memory.distill.objective import (
    inner_products,
    reconstruction_loss,
    sparsity_penalty,
    support_predictions,
)
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.infinite_ae.recipe import InfiniteAE

GENERATOR = np.random.default_rng(0)
SUPPORT = (GENERATOR.random((6, 15)) * (GENERATOR.random((6, 15)) > 0.4)).astype(np.float32)
CONTEXTS = (GENERATOR.random((4, 15)) > 0.6).astype(np.float32)


def predictions(support, num_items=15, contexts=CONTEXTS):
    return support_predictions(
        jnp.asarray(contexts), jnp.asarray(support), jnp.float32(0.7), jnp.float32(num_items)
    )


def test_the_inner_fit_is_infinite_ae():
    rows = TrainingRows(
        csr_array(SUPPORT), np.ones(6), np.ones(6, dtype=np.bool_), np.ones(6, dtype=np.int32)
    )
    model = InfiniteAE(reg=0.7, precision="float64").fit(rows, FitOptions(seed=0))
    expected = np.concatenate(list(model.score_blocks(csr_array(CONTEXTS), 10)))
    np.testing.assert_allclose(predictions(SUPPORT), expected, atol=2e-4)


def test_padding_changes_nothing():
    wide, contexts = np.zeros((6, 20), np.float32), np.zeros((4, 20), np.float32)
    wide[:, :15], contexts[:, :15] = SUPPORT, CONTEXTS
    padded = predictions(wide, 15, contexts)
    np.testing.assert_allclose(padded[:, :15], predictions(SUPPORT), atol=1e-5)
    np.testing.assert_array_equal(padded[:, 15:], 0)


@pytest.mark.parametrize("loss", ["cosine", "multinomial", "bernoulli"])
def test_gradients_are_finite_with_equal_and_empty_rows(loss):
    support = SUPPORT.copy()
    support[1], support[2] = support[0], 0
    contexts = CONTEXTS.copy()
    contexts[0], contexts[1] = 0, support[0]

    def outer(values):
        scores = predictions(values, contexts=contexts)
        return reconstruction_loss(scores, contexts, jnp.ones(4), jnp.ones(15, bool), loss)

    gradient = jax.grad(outer)(jnp.asarray(support))
    assert bool(jnp.isfinite(gradient).all())
    assert float(jnp.abs(gradient).max()) > 0


def test_known_losses():
    scores, targets = jnp.array([[1.0, 0.0, 2.0]]), jnp.array([[1.0, 0.0, 0.0]])
    mask = jnp.array([True, True, False])
    cosine = reconstruction_loss(scores, targets, jnp.ones(1), jnp.ones(3, bool), "cosine")
    assert float(cosine) == pytest.approx(1 - 1 / np.sqrt(5))
    multinomial = reconstruction_loss(scores, targets, jnp.ones(1), mask, "multinomial")
    assert float(multinomial) == pytest.approx(np.log(1 + np.exp(-1)))
    bernoulli = reconstruction_loss(scores, targets, jnp.ones(1), mask, "bernoulli")
    assert float(bernoulli) == pytest.approx(np.log(1 + np.exp(-1)) + np.log(2))


def test_the_cosine_does_not_see_the_scale():
    scores, targets = jnp.asarray(SUPPORT[:4]), jnp.asarray(CONTEXTS)
    weights, mask = jnp.ones(4), jnp.ones(15, bool)
    one = reconstruction_loss(scores, targets, weights, mask, "cosine")
    other = reconstruction_loss(7 * scores, 0.1 * targets, weights, mask, "cosine")
    assert float(one) == pytest.approx(float(other), rel=1e-5)


def test_a_user_of_weight_two_counts_twice():
    scores, targets = jnp.asarray(SUPPORT[:2]), jnp.asarray(CONTEXTS[:2])
    mask = jnp.ones(15, bool)
    weighted = reconstruction_loss(scores, targets, jnp.array([2.0, 1.0]), mask, "cosine")
    again = jnp.array([0, 0, 1])
    repeated = reconstruction_loss(scores[again], targets[again], jnp.ones(3), mask, "cosine")
    assert float(weighted) == pytest.approx(float(repeated))


def test_the_penalty_is_a_share_of_the_datas_row_sum():
    assert float(sparsity_penalty(jnp.array([[1.0, 1.0], [0.0, 0.0]]), jnp.float32(4))) == 0.25


def test_the_gradient_of_inner_products_is_jaxs_own():
    rows, slope = jnp.asarray(SUPPORT), jnp.asarray(GENERATOR.random((6, 6)), jnp.float32)
    ours = jax.grad(lambda values: (inner_products(values) * slope).sum())(rows)
    plain = jax.grad(lambda values: ((values @ values.T) * slope).sum())(rows)
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
