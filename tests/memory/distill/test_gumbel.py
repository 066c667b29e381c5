"""The exact sampler against its definition, and the matched one against the exact one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perennial.memory.distill.gumbel import (
    LEAST_EFFECTIVE_ITEMS,
    effective_items,
    exact_support,
    matched_counts,
    matched_support,
    multiplier_variance,
    sampled_counts,
    support_by_regime,
)

KEY = jax.random.key(3)


def random_logits(num_rows, num_items, scale=1.0):
    return scale * jax.random.normal(jax.random.key(1), (num_rows, num_items))


def naive_counts(logits, key, num_samples, temperature):
    total = jnp.zeros_like(logits)
    for sample in range(num_samples):
        noise = jax.random.gumbel(jax.random.fold_in(key, sample), logits.shape)
        total += jax.nn.softmax((logits + noise) / temperature, axis=1)
    return total


@pytest.mark.parametrize("temperature", [0.5, 3.0, 10.0])
def test_the_custom_gradient_is_that_of_the_definition(temperature):
    logits = random_logits(3, 7)
    weights = jax.random.normal(jax.random.key(2), logits.shape)

    def weigh(sampler):
        return lambda values: (weights * sampler(values, KEY, 5, temperature)).sum()

    ours, gradient = jax.value_and_grad(weigh(sampled_counts))(logits)
    naive, expected = jax.value_and_grad(weigh(naive_counts))(logits)
    np.testing.assert_allclose(ours, naive, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_memory_does_not_grow_with_the_number_of_samples():
    logits = random_logits(20, 500)

    def temporary(num_samples):
        def loss(values):
            return (sampled_counts(values, KEY, num_samples, 10.0) ** 2).sum()

        compiled = jax.jit(jax.grad(loss)).lower(logits).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(400) <= temporary(4) + logits.nbytes


def test_the_multiplier_has_the_known_variance():
    draws = np.random.default_rng(0).exponential(size=2_000_000) ** (-1 / 10)
    assert multiplier_variance(10.0) == pytest.approx(draws.var() / draws.mean() ** 2, rel=0.02)
    assert multiplier_variance(10.0) == pytest.approx(0.0195, abs=0.0005)
    with pytest.raises(ValueError, match="infinite"):
        multiplier_variance(2.0)


def moments(sampler, logits, num_samples, temperature, draws=400):
    keys = jax.random.split(jax.random.key(9), draws)
    drawn = jax.vmap(lambda key: sampler(logits, key, num_samples, temperature))(keys)
    return np.asarray(drawn.mean(axis=0)), np.asarray(drawn.std(axis=0))


@pytest.mark.parametrize("num_samples", [8, 64])
@pytest.mark.parametrize("temperature", [5.0, 10.0])
def test_the_moments_agree_where_many_items_share_a_row(temperature, num_samples):
    logits = random_logits(2, 200)
    assert float(effective_items(logits, temperature).min()) > LEAST_EFFECTIVE_ITEMS
    mean, spread = moments(sampled_counts, logits, num_samples, temperature)
    matched_mean, matched_spread = moments(matched_counts, logits, num_samples, temperature)
    np.testing.assert_allclose(matched_mean.sum(axis=1), num_samples, rtol=5e-3)
    # 400 draws leave 5% of noise in a mean of spreads of one entry, 0.4% over 200 of them.
    assert np.abs(mean - matched_mean).max() < 0.3 * spread.max()
    assert matched_spread.mean() == pytest.approx(spread.mean(), rel=0.03)


def test_the_gradients_agree_in_the_mean():
    logits = random_logits(2, 150)
    weights = jax.random.normal(jax.random.key(2), logits.shape)

    def expected(sampler):
        def loss(values, key):
            return (weights * sampler(values, key, 32, 10.0)).sum()

        keys = jax.random.split(jax.random.key(5), 200)
        return np.asarray(jax.vmap(jax.grad(loss), in_axes=(None, 0))(logits, keys).mean(axis=0))

    exact, matched = expected(sampled_counts), expected(matched_counts)
    assert np.corrcoef(exact.ravel(), matched.ravel())[0, 1] > 0.99
    assert np.linalg.norm(matched) == pytest.approx(np.linalg.norm(exact), rel=0.05)


def test_five_dominating_items_are_outside_the_regime():
    logits = jnp.full((1, 200), -200.0).at[0, :5].set(50.0)
    assert float(effective_items(logits, 10.0)[0]) < 6
    _, spread = moments(sampled_counts, logits, 16, 10.0, draws=3000)
    _, matched = moments(matched_counts, logits, 16, 10.0, draws=3000)
    off = (matched[0, :5] ** 2).mean() / (spread[0, :5] ** 2).mean() - 1
    assert abs(off) > 0.02
    np.testing.assert_array_equal(
        support_by_regime(logits, KEY, 16, 10.0), exact_support(logits, KEY, 16, 10.0)
    )


def test_the_choice_is_by_row_and_by_temperature():
    flat = random_logits(1, 200)
    peaked = jnp.full((1, 200), -200.0).at[0, :5].set(50.0)
    both = jnp.concatenate([flat, peaked])
    chosen = support_by_regime(both, KEY, 16, 10.0)
    # Compiled with what surrounds it, the last place may differ.
    matched = matched_support(both, KEY, 16, 10.0)
    np.testing.assert_allclose(chosen[0], matched[0], rtol=1e-6)
    np.testing.assert_array_equal(chosen[1], exact_support(both, KEY, 16, 10.0)[1])
    np.testing.assert_array_equal(
        support_by_regime(flat, KEY, 16, 3.0), exact_support(flat, KEY, 16, 3.0)
    )


def test_the_penalty_has_no_gradient_at_the_papers_temperature():
    logits = random_logits(4, 2000)

    def penalty(values):
        return exact_support(values, KEY, 50, 10.0).sum(axis=1).mean()

    value, gradient = jax.value_and_grad(penalty)(logits)
    assert float(value) == pytest.approx(50, rel=1e-4)
    assert float(jnp.abs(gradient).max()) < 1e-5
