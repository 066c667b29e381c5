"""The inner fit against ∞-AE itself, the losses against their formulas and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_rows import rows_of_dense, scores_of

from perennial.memory.distill.objective import (
    SupportProducts,
    TargetBatch,
    inner_products,
    loss_and_slopes,
    reconstruction_loss,
    sparsity_penalty,
    support_predictions,
)
from perennial.models.base import FitOptions
from perennial.models.infinite_ae.recipe import InfiniteAE

GENERATOR = np.random.default_rng(0)
SUPPORT = (GENERATOR.random((6, 15)) * (GENERATOR.random((6, 15)) > 0.4)).astype(np.float32)
CONTEXTS = (GENERATOR.random((4, 15)) > 0.6).astype(np.float32)


def predictions(support, num_items=15, contexts=CONTEXTS):
    return support_predictions(
        jnp.asarray(contexts), jnp.asarray(support), jnp.float32(0.7), jnp.float32(num_items)
    )


def test_the_inner_fit_is_infinite_ae():
    rows = rows_of_dense(SUPPORT, replayed=np.ones(6, dtype=np.bool_))
    model = InfiniteAE(reg=0.7, precision="float64").fit(rows, FitOptions(seed=0))
    np.testing.assert_allclose(predictions(SUPPORT), scores_of(model, CONTEXTS), atol=2e-4)


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
        targets = jnp.asarray(contexts)
        return reconstruction_loss(scores, targets, jnp.ones(4), jnp.ones(15, bool), loss)

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


@pytest.mark.parametrize("twins", [False, True], ids=["distinct rows", "equal and empty rows"])
def test_the_loss_of_inner_products_is_that_of_whole_rows(twins):
    targets, weights = GENERATOR.normal(size=(4, 15)), jnp.array([1.0, 2.0, 0.5, 1.0])
    contexts, rows = CONTEXTS.astype(np.float64), SUPPORT.astype(np.float64)
    if twins:
        rows[1], rows[2] = rows[0], 0

    def whole_loss(support):
        scores = support_predictions(
            jnp.asarray(contexts), support, jnp.asarray(0.7), jnp.asarray(15.0)
        )
        mask = jnp.ones(15, bool)
        return reconstruction_loss(scores, jnp.asarray(targets), weights, mask, "cosine")

    with jax.enable_x64(True):
        weights = jnp.asarray(weights, jnp.float64)
        products = SupportProducts(
            jnp.asarray(contexts @ rows.T),
            jnp.asarray(rows @ rows.T),
            jnp.asarray(targets @ rows.T),
        )
        batch = TargetBatch(
            jnp.asarray((contexts**2).sum(axis=1)),
            jnp.asarray((targets**2).sum(axis=1)),
            weights,
            jnp.asarray(15.0),
        )
        loss, slopes = loss_and_slopes(products, batch, jnp.asarray(0.7))
        expected, gradient = jax.value_and_grad(whole_loss)(jnp.asarray(rows))
        found = (
            slopes.cross.T @ contexts + (slopes.inner + slopes.inner.T) @ rows
        ) + slopes.wanted.T @ targets
    assert float(loss) == pytest.approx(float(expected), rel=1e-10)
    np.testing.assert_allclose(found, gradient, atol=1e-8)


def test_a_target_without_length_has_no_slope():
    with jax.enable_x64(True):
        products = SupportProducts(jnp.ones((1, 2)), jnp.eye(2), jnp.zeros((1, 2)))
        batch = TargetBatch(jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.asarray(5.0))
        loss, slopes = loss_and_slopes(products, batch, jnp.asarray(1.0))
    assert float(loss) == 1
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
