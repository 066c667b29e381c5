"""NeuMF: the network against plain loops, its training, and answers for users it has not seen."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_rows import planted, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.holdout import hold_out
from perennial.models.neumf.fitted import FittedNeuMF
from perennial.models.neumf.network import Candidates, NeuMFParameters, log_loss, score
from perennial.models.neumf.recipe import NeuMF
from perennial.models.neumf.training import (
    NeuMFRates,
    draw_candidates,
    fresh_weights,
    start,
    train,
    update,
)
from perennial.models.registry import make_recipe
from perennial.models.training.batches import assemble, make_key, scale_weights
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import load_arrays, save_arrays

SMALL = NeuMF(
    factors=8,
    embedding=4,
    hidden=4,
    learning_rates=(0.05, 0.02),
    averaging=0.9,
    num_candidates=32,
    max_updates=120,
    check_every=20,
    patience=2,
)


def test_who_is_judged_apart_from_the_rows_is_asked_with_their_own_contexts():
    # More are judged than there are rows, as with a summary, and not all of them are looked at.
    people = hold_out(rows_of(planted()), seed=3)
    apart = replace(people, training=rows_of(planted(num_rows=20, seed=5)), apart=people.contexts)
    recipe = replace(SMALL, validation_users=40)
    model = recipe.fit_judged(apart, apart.training, FitOptions(seed=1))
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
    """The formula of `neumf_network`, pair by pair."""
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


def _share_hit(contexts: csr_array, hidden: np.ndarray, scores: np.ndarray) -> float:
    masked = np.where(contexts.toarray() > 0, -np.inf, scores)
    best = np.argsort(-masked, axis=1)[:, :5]
    hits = np.take_along_axis(hidden, best, axis=1).sum(axis=1)
    return float(hits.sum() / np.minimum(5, hidden.sum(axis=1)).sum())


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


def test_updates_lower_the_loss():
    matrix = planted(64)
    batch = assemble(matrix, np.arange(64), 64, scale_weights(np.ones(64)))
    candidates = draw_candidates(batch, 50, 64, np.random.default_rng(0))
    numbers = (0.01, 0.5, 0.9, 0.5, 50.0)
    rates = NeuMFRates(*(np.float32(number) for number in numbers))
    state, losses = start(_weights(matrix)), []
    for number in range(40):
        state, loss = update(state, batch, candidates, make_key(1), np.int32(number), rates)
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_padding_of_items_stays_as_it_was():
    matrix = planted()
    trained = train(
        _weights(matrix),
        rows_of(matrix),
        settings=SMALL.training_settings(0.01),
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
    fresh = planted(seed=9)
    contexts = fresh.copy()
    contexts.data[np.random.default_rng(2).random(contexts.nnz) < 0.3] = 0
    contexts.eliminate_zeros()
    hidden = (fresh - contexts).toarray() > 0
    popularity = np.tile(np.asarray(planted().sum(axis=0)), (160, 1))
    learnt = _share_hit(contexts, hidden, scores_of(fitted, contexts))
    assert learnt > _share_hit(contexts, hidden, popularity) + 0.15


def test_nobody_is_recommended_what_is_popular(fitted: FittedNeuMF):
    (scores,) = scores_of(fitted, csr_array((1, 50), dtype=np.float32))
    assert np.isfinite(scores).all()
    counts = np.asarray(planted().sum(axis=0))
    assert np.corrcoef(scores, np.log(counts))[0, 1] > 0.5


def test_a_fit_is_the_same_to_the_bit_for_a_seed(fitted: FittedNeuMF):
    rows = rows_of(planted())
    again, other = (SMALL.fit(rows, FitOptions(seed=seed)) for seed in (1, 2))
    scores = scores_of(fitted, rows.interactions)
    assert np.array_equal(scores, scores_of(again, rows.interactions))
    assert not np.array_equal(scores, scores_of(other, rows.interactions))
    assert fitted.report == again.report


def test_the_report_has_the_grid_and_the_choice(fitted: FittedNeuMF):
    report = fitted.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert len(report["trials"]) == 2
    assert report["chosen"].items() <= report["trials"][0].items()
    assert 0 < report["steps"] <= 120
    assert report["rows_given"] == report["rows_used"] == 160


def test_the_chosen_model_is_used_again_where_the_rows_are_the_same():
    held = hold_out(rows_of(planted()), seed=3)
    said: list[str] = []
    model = SMALL.fit_judged(held, held.training, FitOptions(1, progress=said.append))
    assert not any("refit" in line for line in said)
    anew = SMALL.fit_judged(held, replace(held.training), FitOptions(1, progress=said.append))
    assert "refit" in said[-1]
    assert np.array_equal(scores_of(model, held.contexts), scores_of(anew, held.contexts))


def test_blocks_come_in_order_and_do_not_change_the_scores(fitted: FittedNeuMF):
    contexts = planted(seed=3)
    blocks = list(fitted.score_blocks(contexts, 64))
    assert [block.shape for block in blocks] == [(64, 50), (64, 50), (32, 50)]
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), scores_of(fitted, contexts), atol=1e-5)


def test_saving_and_restoring_keeps_the_scores_to_the_bit(fitted: FittedNeuMF, tmp_path: Path):
    path = save_arrays(tmp_path, "model", *fitted.to_arrays())
    restored = SMALL.restore(*load_arrays(path))
    assert np.array_equal(scores_of(restored, planted(3)), scores_of(fitted, planted(3)))
    assert restored.report == fitted.report


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, manifest: arrays.pop("item_bias"),
        lambda arrays, manifest: arrays.update(item_bias=arrays["item_bias"][1:]),
        lambda arrays, manifest: arrays.update(item_bias=arrays["item_bias"].astype(np.float64)),
        lambda arrays, manifest: manifest.pop("hidden"),
        lambda arrays, manifest: manifest.update(num_items="many"),
        lambda arrays, manifest: manifest.update(report=3),
    ],
)
def test_a_damaged_model_is_refused(fitted: FittedNeuMF, damage):
    arrays, manifest = fitted.to_arrays()
    damage(arrays, manifest)
    with pytest.raises(UserError, match="fit the model again"):
        SMALL.restore(arrays, manifest)


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((0, 5)), np.zeros((3, 5)), np.array([[1, 0, 1, 1, 0]]), np.ones((4, 1))],
    ids=["no rows", "empty rows", "one row", "one item"],
)
def test_little_data_gives_a_model_with_finite_scores(matrix: np.ndarray):
    recipe = replace(SMALL, max_updates=8, check_every=4)
    model = recipe.fit(rows_of(csr_array(matrix.astype(np.float32))), FitOptions(seed=1))
    asked = csr_array(np.vstack([matrix, np.zeros((1, matrix.shape[1]))]).astype(np.float32))
    scores = scores_of(model, asked)
    assert scores.shape == asked.shape
    assert np.isfinite(scores).all()


def test_replayed_rows_are_never_judged_and_the_row_cap_is_applied():
    recipe = replace(SMALL, max_updates=8, check_every=4)
    rows = rows_of(planted(), replayed=np.arange(160) >= 20)
    assert recipe.fit(rows, FitOptions(seed=1)).report["validation_users"] <= 20
    report = recipe.fit(rows_of(planted()), FitOptions(seed=1, max_rows=100)).report
    assert (report["rows_given"], report["rows_used"]) == (160, 100)
    nobody = recipe.fit(rows_of(planted(), replayed=np.ones(160, np.bool_)), FitOptions(seed=1))
    assert nobody.report["validation_HR@100"] is None


def test_heavy_rows_pull_the_scores_to_themselves():
    matrix = csr_array(np.kron(np.eye(2), np.ones((80, 25))).astype(np.float32))
    nobody = csr_array((1, 50), dtype=np.float32)
    scores = []
    for weight in (1.0, 9.0):
        weights = np.repeat([1.0, weight], 80)
        model = SMALL.fit(rows_of(matrix, weights=weights), FitOptions(seed=1))
        scores.append(scores_of(model, nobody)[0])
    gain = scores[1] - scores[0]
    assert gain[25:].mean() > gain[:25].mean() + 0.2


def test_over_the_memory_limit_nothing_is_trained():
    with pytest.raises(UserError, match=r"neumf needs .* 50 items, over the memory limit"):
        SMALL.fit(rows_of(planted()), FitOptions(seed=1, memory_limit=10_000))


def test_contexts_of_another_width_are_refused(fitted: FittedNeuMF):
    with pytest.raises(ValueError, match="51 items"):
        next(fitted.score_blocks(csr_array((2, 51), dtype=np.float32), 2))


def test_other_periods_of_a_like_size_compile_nothing_new(fitted: FittedNeuMF):
    before = (update._cache_size(), score._cache_size())
    SMALL.fit(rows_of(planted(150, 45, seed=6)), FitOptions(seed=1))
    assert (update._cache_size(), score._cache_size()) == before


def test_settings_come_from_text_and_are_checked():
    recipe = make_recipe("neumf", {"factors": "32", "learning_rates": (0.5,), "dropout": "0.4"})
    assert isinstance(recipe, NeuMF)
    assert (recipe.factors, recipe.learning_rates, recipe.dropout) == (32, (0.5,), 0.4)
    for setting in ({"factors": 0}, {"dropout": 1.0}, {"learning_rates": ()}, {"negatives": 0}):
        with pytest.raises(UserError):
            make_recipe("neumf", setting)
