"""The loss of inner products against the loss of whole rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perennial.memory.distill.objective import (
    SupportProducts,
    TargetBatch,
    loss_and_slopes,
    reconstruction_loss,
    support_predictions,
)

GENERATOR = np.random.default_rng(0)
SUPPORT = GENERATOR.random((6, 15)) * (GENERATOR.random((6, 15)) > 0.4)
CONTEXTS = (GENERATOR.random((4, 15)) > 0.6).astype(np.float64)
TARGETS = GENERATOR.normal(size=(4, 15))
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0])


def whole_loss(support):
    scores = support_predictions(
        jnp.asarray(CONTEXTS), support, jnp.asarray(0.7), jnp.asarray(15.0)
    )
    mask = jnp.ones(15, bool)
    return reconstruction_loss(scores, jnp.asarray(TARGETS), jnp.asarray(WEIGHTS), mask, "cosine")


@pytest.mark.parametrize("twins", [False, True], ids=["apart", "equal and empty rows"])
def test_value_and_gradient_are_the_same(twins):
    rows = SUPPORT.copy()
    if twins:
        rows[1], rows[2] = rows[0], 0
    with jax.enable_x64(True):
        support = jnp.asarray(rows)
        products = SupportProducts(
            jnp.asarray(CONTEXTS @ rows.T),
            jnp.asarray(rows @ rows.T),
            jnp.asarray(TARGETS @ rows.T),
        )
        asked = TargetBatch(
            jnp.asarray((CONTEXTS**2).sum(axis=1)),
            jnp.asarray((TARGETS**2).sum(axis=1)),
            jnp.asarray(WEIGHTS),
            jnp.asarray(15.0),
        )
        loss, slopes = loss_and_slopes(products, asked, jnp.asarray(0.7))
        expected, gradient = jax.value_and_grad(whole_loss)(support)
        found = (
            slopes.cross.T @ CONTEXTS + (slopes.inner + slopes.inner.T) @ rows
        ) + slopes.wanted.T @ TARGETS
    assert float(loss) == pytest.approx(float(expected), rel=1e-10)
    np.testing.assert_allclose(found, gradient, atol=1e-8)


def test_a_target_without_length_has_no_slope():
    with jax.enable_x64(True):
        products = SupportProducts(jnp.ones((1, 2)), jnp.eye(2), jnp.zeros((1, 2)))
        asked = TargetBatch(jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.asarray(5.0))
        loss, slopes = loss_and_slopes(products, asked, jnp.asarray(1.0))
    assert float(loss) == 1
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
