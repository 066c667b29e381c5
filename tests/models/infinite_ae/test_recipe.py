"""∞-AE against its equation written out densely, and its promises about rows, memory and files."""

from dataclasses import replace
from functools import partial

import jax
import model_rows
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from model_rows import rows_of_dense as training_rows
from model_rows import scores_of

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.memory_estimate import estimate_bytes, sizes_of
from perennial.models.infinite_ae.recipe import InfiniteAE, best_reg

NUM_ITEMS = 30
DOUBLE = InfiniteAE(reg=5.0, precision="float64")
dense_rows = partial(model_rows.dense_rows, num_items=NUM_ITEMS, most=0.5)


def by_the_equation(dense, contexts, reg, weights=None, depth=1):
    """K(x, X)(K + λ'W⁻¹)⁻¹ X in float64."""
    weights = np.ones(len(dense)) if weights is None else weights
    rows, asked = dense.astype(np.float64), contexts.astype(np.float64)
    with jax.enable_x64(True):
        gram = np.asarray(kernel_gram(rows, KernelSettings(depth)))
        cross = np.asarray(kernel_matrix(asked, rows, KernelSettings(depth)))
    ridge = reg * np.average(np.diag(gram), weights=weights)
    return cross @ np.linalg.solve(gram + np.diag(ridge / weights), rows)


@pytest.mark.parametrize("backend", ["closed-form", "neural-tangents"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("real", [False, True])
def test_scores_are_those_of_the_equation(backend, depth, real):
    dense = dense_rows(60, soft=real)
    weights = np.random.default_rng(1).uniform(0.3, 4.0, 60)
    contexts = dense_rows(9, seed=2)
    contexts[0] = 0
    model = replace(DOUBLE, backend=backend, depth=depth).fit(
        training_rows(dense, weights), FitOptions(seed=0)
    )
    expected = by_the_equation(dense, contexts, 5.0, weights, depth)
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=1e-6)


def test_single_precision_changes_the_sixth_digit():
    dense, contexts = dense_rows(200), dense_rows(20, seed=2)
    single = InfiniteAE(reg=5.0).fit(training_rows(dense), FitOptions(seed=0))
    assert single.report["dtype"] == "float32"
    np.testing.assert_allclose(
        scores_of(single, contexts), by_the_equation(dense, contexts, 5.0), atol=1e-5
    )


def test_many_contexts_on_few_items_are_scored_through_alpha_alike():
    dense, contexts = dense_rows(60), dense_rows(150, seed=2)
    model = DOUBLE.fit(training_rows(dense), FitOptions(seed=0))
    through_alpha = scores_of(model, contexts)
    one_by_one = np.concatenate([scores_of(model, contexts[u : u + 1]) for u in range(150)])
    np.testing.assert_allclose(through_alpha, one_by_one, atol=1e-6)
    np.testing.assert_allclose(through_alpha, by_the_equation(dense, contexts, 5.0), atol=1e-6)


def sweep_by_products(dense, held, regs):
    """HR@100 from K α, with as many ranks as there are items left out of account: k ≥ items."""
    scores = {}
    for reg in regs:
        full = by_the_equation(dense, dense, reg)[held.users]
        seen = held.contexts.toarray() > 0
        order = np.argsort(-np.where(seen, -np.inf, full), axis=1)[:, :100]
        targets = held.targets.toarray() > 0
        hits = np.take_along_axis(targets, order, axis=1).sum(axis=1)
        scores[reg] = 100 * np.mean(hits / np.minimum(100, targets.sum(axis=1)))
    return scores


@pytest.mark.parametrize("validation_users", [None, 20])
def test_the_sweep_without_products_is_the_sweep_with_them(validation_users):
    rows = training_rows(dense_rows(150, num_items=400))
    held = hold_out(rows, seed=3, share=0.2, max_users=validation_users)
    recipe = InfiniteAE(regs=(0.5, 5.0, 50.0), precision="float64")
    swept = recipe.sweep(held, FitOptions(seed=0))
    expected = sweep_by_products(held.training.interactions.toarray(), held, recipe.regs)
    assert swept == pytest.approx(expected, abs=1e-9)
    assert len({round(score, 6) for score in swept.values()}) > 1


def test_the_best_regulariser_is_taken_then_all_rows_are_used():
    dense = dense_rows(150, num_items=400)
    recipe = InfiniteAE(precision="float64", regs=(0.5, 5.0, 50.0))
    messages = []
    model = recipe.fit(training_rows(dense), FitOptions(seed=4, progress=messages.append))
    tried = {float(reg): score for reg, score in model.report["validation"].items()}
    assert set(tried) == set(recipe.regs)
    assert tried[model.report["reg"]] == max(tried.values())
    assert model.report["validation_users"] > 0
    assert sum("validation HR@100" in message for message in messages) == 3
    contexts = dense_rows(5, seed=9, num_items=400)
    expected = by_the_equation(dense, contexts, model.report["reg"])
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=1e-6)


def test_a_given_regulariser_is_not_validated():
    model = DOUBLE.fit(training_rows(dense_rows(20)), FitOptions(seed=0))
    assert model.report["reg"] == 5.0
    assert "validation" not in model.report
    assert model.report["row_cap"] is None


def test_equal_validation_scores_go_to_the_larger_regulariser_and_none_to_the_middle():
    assert best_reg({1.0: 3.0, 5.0: 4.0, 20.0: 4.0}, (1.0, 5.0, 20.0)) == 20.0
    assert best_reg({}, (100.0, 1.0, 20.0, 5.0, 50.0)) == 20.0


def test_zero_takes_the_jitter_where_equal_rows_would_be_singular():
    dense = np.vstack([dense_rows(10)] * 2)
    model = InfiniteAE(reg=0.0, jitter=1e-5).fit(training_rows(dense), FitOptions(seed=0))
    assert model.report["dtype"] == "float64"
    expected = by_the_equation(dense, dense[:3], 1e-5)
    np.testing.assert_allclose(scores_of(model, dense[:3]), expected, atol=1e-5)


def limit_for(recipe, rows, num_rows):
    sizes = sizes_of(rows.interactions, rows.weights, 0, recipe.precision, recipe.reg)
    return estimate_bytes(sizes, num_rows)


def test_the_memory_limit_caps_the_rows_to_the_most_that_fit():
    rows = training_rows(dense_rows(3000))
    limit = limit_for(DOUBLE, rows, 1700)
    model = DOUBLE.fit(rows, FitOptions(seed=0, memory_limit=limit))
    assert model.report["rows_used"] == 1700
    assert model.report["row_cap"] == f"memory limit of {limit / 2**20:,.0f} MiB"
    assert model.report["bytes_estimated"] <= limit
    fewer = DOUBLE.fit(rows, FitOptions(seed=0, memory_limit=limit, max_rows=100))
    assert (fewer.report["rows_used"], fewer.report["row_cap"]) == (100, "max_rows 100")


def paper_split(shared_data, name, keep_repeats=False):
    from perennial.stream.random_split import read_paper_split

    return read_paper_split(shared_data / f"{name}-paper-split.parquet", keep_repeats=keep_repeats)


def figures(model, test):
    from perennial.replay.evaluate import evaluate

    return {(r.metric, r.k): r.values.mean for r in evaluate(model, test)}


def test_the_magazine_split_scores_as_measured(shared_data):
    split = paper_split(shared_data, "magazine", keep_repeats=True)
    rows = TrainingRows.of_users(split.train)
    found = figures(InfiniteAE(reg=5.0).fit(rows, FitOptions(seed=0)), split.test)
    assert found["HR", 10] == pytest.approx(26.59, abs=0.05)
    assert found["nDCG", 10] == pytest.approx(23.00, abs=0.05)


@pytest.mark.slow
def test_the_ml_1m_split_scores_as_the_authors_code_does(shared_data):
    split = paper_split(shared_data, "ml-1m")
    rows = TrainingRows.of_users(split.train)
    judged = split.validation
    some = slice(0, None, 12)
    held = Holdout(
        rows, judged.users[some].astype(np.int64), judged.targets[some, : rows.num_items]
    )
    recipe = InfiniteAE(regs=(1.0, 5.0, 20.0))
    model = recipe.fit_with_holdout(held, rows, FitOptions(seed=0))
    assert model.report["reg"] == 5.0
    found = figures(model, split.test)
    authors = {
        ("HR", 10): 31.91,
        ("HR", 100): 60.91,
        ("nDCG", 10): 33.39,
        ("nDCG", 100): 43.33,
        ("PSP", 10): 3.29,
        ("AUC", None): 0.9457,
    }
    for metric, value in authors.items():
        assert found[metric] == pytest.approx(value, rel=0.005), metric


def test_judged_apart_is_judged_alike():
    """The contexts of training rows, given as if they were others', choose the same λ."""
    rows = training_rows(dense_rows(60))
    held = hold_out(rows, seed=0)
    apart = replace(held, external_contexts=held.contexts)
    recipe, options = InfiniteAE(regs=(1.0, 20.0)), FitOptions(seed=0)
    expected, found = recipe.sweep(held, options), recipe.sweep(apart, options)
    assert found == pytest.approx(expected)
    model = recipe.fit_with_holdout(apart, apart.training, options)
    assert model.report["reg"] == max(expected, key=lambda reg: (expected[reg], reg))
