"""NeuMF: the network against plain loops, its training, and answers for users it has not seen."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_rows import check_heavy_rows, planted, planted_hits, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.holdout import hold_out
from perennial.models.neumf.network import Candidates, NeuMFParameters, log_loss, score
from perennial.models.neumf.recipe import FittedNeuMF, NeuMF
from perennial.models.neumf.training import (
    NeuMFRates,
    draw_candidates,
    fresh_weights,
    train,
    update,
)
from perennial.models.training.batches import assemble, make_key, scale_weights

SMALL = NeuMF(
    factors=8, embedding=4, hidden=4, learning_rates=(0.05, 0.02), averaging=0.9, num_candidates=32,
    max_updates=120, check_every=20, patience=2,
)  # fmt: skip

RATES = NeuMFRates(*map(np.float32, (0.01, 0.5, 0.9, 0.5, 50.0)))


def test_who_is_judged_apart_from_the_rows_is_asked_with_their_own_contexts():
    # More are judged than there are rows, as with a summary, and not all of them are looked at.
    people = hold_out(rows_of(planted()), seed=3)
    apart = replace(
        people, training=rows_of(planted(num_rows=20, seed=5)), external_contexts=people.contexts
    )
    recipe = replace(SMALL, validation_users=40)
    model = recipe.fit_with_holdout(apart, apart.training, FitOptions(seed=1))
    assert model.report["validation_users"] == 40
    chosen = np.arange(0, len(apart.users), 3)
    some = apart.take(chosen)
    np.testing.assert_array_equal(some.contexts.toarray(), people.contexts[chosen].toarray())
    np.testing.assert_array_equal(some.targets.toarray(), people.targets[chosen].toarray())


def _weights(matrix: csr_array) -> NeuMFParameters:
    drawn = fresh_weights(rows_of(matrix), 4.0, factors=8, embedding=4, hidden=6, seed=3)
    # Zero biases would hide a mistake in them.
    generator = np.random.default_rng(0)
    shifts = {
        name: jnp.asarray(generator.normal(size=getattr(drawn, name).shape), jnp.float32)
        for name in ("first_bias", "second_bias", "factor_output")
    }
    return drawn._replace(**shifts)


def _plain_scores(parameters: NeuMFParameters, rows: np.ndarray) -> np.ndarray:
    p = {name: np.asarray(values, np.float64) for name, values in parameters._asdict().items()}
    scores = np.zeros(rows.shape)
    for u, row in enumerate(rows):
        scaled = row / np.linalg.norm(row) if row.any() else row
        known = len(row)
        user, tower = scaled @ p["factor_users"][:known], scaled @ p["tower_users"][:known]
        for i in range(known):
            first = tower @ p["user_layer"] + p["tower_items"][i] @ p["item_layer"]
            first = np.maximum(first + p["first_bias"], 0)
            second = np.maximum(first @ p["second_layer"] + p["second_bias"], 0)
            product = (user * p["factor_items"][i]) @ p["factor_output"]
            scores[u, i] = p["item_bias"][i] + product + second @ p["tower_output"]
    return scores


@pytest.fixture(scope="module")
def fitted() -> FittedNeuMF:
    return SMALL.fit(rows_of(planted()), FitOptions(seed=1))


def test_scores_are_those_of_the_plain_formula():
    rows = np.random.default_rng(1).random((5, 50)) * (planted(5, seed=2).toarray() > 0)
    rows[3] = 0
    model = FittedNeuMF(_weights(planted()), 50, {})
    contexts = csr_array(rows.astype(np.float32))
    np.testing.assert_allclose(
        scores_of(model, contexts), _plain_scores(model.parameters, rows), rtol=1e-4, atol=1e-4
    )


def test_the_loss_is_that_of_the_plain_formula():
    matrix, dropout, absence = planted(6), 0.4, 0.2
    parameters, weights = _weights(matrix), np.array([1, 2, 1, 1, 0.5, 0.5])
    batch = assemble(matrix, np.arange(6), 8, scale_weights(weights))
    candidates = draw_candidates(batch, 50, 20, np.random.default_rng(0))
    key = make_key(5)
    found = log_loss(
        parameters,
        batch,
        candidates,
        key,
        dropout=jnp.float32(dropout),
        negative_weight=jnp.float32(absence),
        num_items=jnp.float32(50),
    )
    luck = np.asarray(jax.random.uniform(key, batch.values.shape, dtype=jnp.float32))
    hidden = np.zeros((6, 50))
    hidden[matrix.tocoo().row, matrix.tocoo().col] = luck[: matrix.nnz] < dropout
    present = matrix.toarray()
    scores = _plain_scores(parameters, present * (1 - hidden))
    cells = hidden / dropout * present * np.log1p(np.exp(-scores))
    cells += absence * (1 - present) * np.log1p(np.exp(scores))
    of_rows = cells[:, np.asarray(candidates.items)].sum(axis=1) * 50 / 20
    assert float(found) == pytest.approx(float((weights / weights.mean()) @ of_rows / 6), rel=1e-4)


def test_padding_of_items_stays_as_it_was():
    matrix = planted()
    trained = train(
        _weights(matrix),
        rows_of(matrix),
        batch_size=64,
        num_candidates=32,
        rates=RATES,
        num_updates=5,
        seed=1,
    )
    assert trained.factor_items.shape[0] > 50
    assert not np.asarray(trained.factor_items)[50:].any()
    assert not np.asarray(trained.item_bias)[50:].any()


def test_candidates_are_distinct_and_all_items_where_they_are_few():
    batch = assemble(planted(6), np.arange(6), 8)
    some = draw_candidates(batch, 50, 20, np.random.default_rng(0))
    assert len(set(np.asarray(some.items).tolist())) == 20
    where, items = np.asarray(some.places), np.asarray(batch.items)
    inside = where < 20
    np.testing.assert_array_equal(np.asarray(some.items)[where[inside]], items[inside])
    assert not set(items[~inside].tolist()) & set(np.asarray(some.items).tolist())
    every: Candidates = draw_candidates(batch, 50, 64, np.random.default_rng(0))
    np.testing.assert_array_equal(np.asarray(every.known), np.arange(64) < 50)
    np.testing.assert_array_equal(np.asarray(every.places), items)


def test_planted_blocks_are_learnt_for_users_that_are_new(fitted: FittedNeuMF):
    learnt, popular = planted_hits(fitted)
    assert learnt > popular + 0.15


def test_nobody_is_recommended_what_is_popular(fitted: FittedNeuMF):
    (scores,) = scores_of(fitted, csr_array((1, 50), dtype=np.float32))
    assert np.isfinite(scores).all()
    assert np.corrcoef(scores, np.log(np.asarray(planted().sum(axis=0))))[0, 1] > 0.5


def test_heavy_rows_pull_the_scores_to_themselves():
    check_heavy_rows(SMALL)


def test_other_periods_of_a_like_size_compile_nothing_new(fitted: FittedNeuMF):
    before = (update._cache_size(), score._cache_size())
    SMALL.fit(rows_of(planted(150, 45, seed=6)), FitOptions(seed=1))
    assert (update._cache_size(), score._cache_size()) == before
