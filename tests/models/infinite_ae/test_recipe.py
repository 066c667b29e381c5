"""∞-AE against its equation written out densely, and its promises about rows, memory and files."""

import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import rows_of_dense as training_rows
from model_rows import scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.memory_estimate import (
    FitSizes,
    choose_dtype,
    estimate_bytes,
    sizes_of,
)
from perennial.models.infinite_ae.recipe import InfiniteAE, best_reg
from perennial.models.scoring import SCORE_ROWS, score_rows
from perennial.storage.errors import UserError

NUM_ITEMS = 30
DOUBLE = InfiniteAE(reg=5.0, precision="float64")


def dense_rows(num_rows, seed=0, num_items=NUM_ITEMS, real=False):
    generator = np.random.default_rng(seed)
    popularity = np.linspace(0.5, 0.02, num_items)
    dense = (generator.random((num_rows, num_items)) < popularity).astype(np.float32)
    return dense * generator.random(dense.shape).astype(np.float32) if real else dense


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
    dense = dense_rows(60, real=real)
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


@settings(deadline=None, max_examples=15)
@given(block_rows=st.integers(1, 40))
def test_blocks_are_the_scores_in_order(block_rows):
    dense, contexts = dense_rows(20, num_items=60), dense_rows(33, seed=2, num_items=60)
    model = DOUBLE.fit(training_rows(dense), FitOptions(seed=0))
    blocks = list(model.score_blocks(csr_array(contexts), block_rows))
    assert [len(block) for block in blocks[:-1]] == [block_rows] * (len(blocks) - 1)
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_allclose(
        np.concatenate(blocks), by_the_equation(dense, contexts, 5.0), atol=1e-6
    )


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), copies=st.lists(st.integers(1, 3), min_size=12, max_size=12))
def test_a_row_of_weight_two_is_two_equal_rows(seed, copies):
    dense, contexts = dense_rows(12, seed), dense_rows(5, seed + 1)
    weighted = DOUBLE.fit(training_rows(dense, copies), FitOptions(seed=0))
    repeated = DOUBLE.fit(training_rows(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    np.testing.assert_allclose(
        scores_of(weighted, contexts), scores_of(repeated, contexts), atol=1e-6
    )


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


def test_equal_validation_scores_go_to_the_larger_regulariser_and_none_to_the_middle():
    assert best_reg({1.0: 3.0, 5.0: 4.0, 20.0: 4.0}, (1.0, 5.0, 20.0)) == 20.0
    assert best_reg({}, (100.0, 1.0, 20.0, 5.0, 50.0)) == 20.0


def test_zero_takes_the_jitter_where_equal_rows_would_be_singular():
    dense = np.vstack([dense_rows(10)] * 2)
    model = InfiniteAE(reg=0.0, jitter=1e-5).fit(training_rows(dense), FitOptions(seed=0))
    assert model.report["dtype"] == "float64"
    expected = by_the_equation(dense, dense[:3], 1e-5)
    np.testing.assert_allclose(scores_of(model, dense[:3]), expected, atol=1e-5)


@pytest.mark.parametrize("num_rows", [0, 1, 2])
@pytest.mark.parametrize("num_items", [0, 1, NUM_ITEMS])
def test_hardly_any_data(num_rows, num_items):
    dense = dense_rows(num_rows, num_items=num_items)
    model = InfiniteAE().fit(training_rows(dense), FitOptions(seed=0))
    contexts = dense_rows(3, seed=2, num_items=num_items)
    scores = scores_of(model, contexts)
    assert scores.shape == (3, num_items)
    assert np.isfinite(scores).all()
    assert scores_of(model, contexts[:0]).shape == (0, num_items)
    if num_rows == 0:
        assert (scores == 0).all()
        assert model.report["reg"] == 20.0


def test_empty_rows_and_items_nobody_has():
    dense = dense_rows(30)
    dense[:10] = 0
    dense[:, 5] = 0
    model = InfiniteAE().fit(training_rows(dense), FitOptions(seed=0))
    scores = scores_of(model, np.zeros((2, NUM_ITEMS), np.float32))
    assert (scores[:, 5] == 0).all()
    assert (scores[:, 0] > 0).all()


def test_the_kernel_belongs_to_the_width_of_the_catalogue():
    dense, contexts = dense_rows(20), dense_rows(4, seed=2)
    wider = np.pad(dense, ((0, 0), (0, 10)))
    narrow = DOUBLE.fit(training_rows(dense), FitOptions(seed=0))
    wide = DOUBLE.fit(training_rows(wider), FitOptions(seed=0))
    assert (narrow.num_items, wide.num_items) == (30, 40)
    of_wide = scores_of(wide, np.pad(contexts, ((0, 0), (0, 10))))
    assert np.abs(of_wide[:, :30] - scores_of(narrow, contexts)).max() > 1e-3


def stored(model):
    arrays, manifest = model.to_arrays()
    return {name: array.copy() for name, array in arrays.items()}, manifest


@pytest.mark.parametrize("real", [False, True])
def test_a_stored_model_comes_back_to_the_bit(real):
    weights = np.random.default_rng(0).uniform(0.5, 2, 40)
    recipe = InfiniteAE(depth=2, regs=(1.0, 5.0))
    model = recipe.fit(training_rows(dense_rows(40, real=real), weights), FitOptions(seed=1))
    arrays, manifest = stored(model)
    back = InfiniteAE().restore(arrays, manifest)
    contexts = dense_rows(6, seed=2)
    np.testing.assert_array_equal(scores_of(back, contexts), scores_of(model, contexts))
    assert back.report == model.report
    assert back.num_items == model.num_items


def test_a_row_cap_is_reported_and_said():
    dense = dense_rows(40)
    last_period = np.repeat([1, 3, 2, 3], 10).astype(np.int32)
    messages = []
    model = DOUBLE.fit(
        training_rows(dense, last_period=last_period),
        FitOptions(seed=0, max_rows=25, progress=messages.append),
    )
    assert (model.report["rows_given"], model.report["rows_used"]) == (40, 25)
    assert model.report["row_cap"] == "max_rows 25"
    assert any("25 of 40 rows (max_rows 25)" in message for message in messages)
    arrays, _ = model.to_arrays()
    kept = csr_array(
        (arrays["values"], arrays["items"], arrays["offsets"]), shape=(25, NUM_ITEMS)
    ).toarray()
    newest = dense[last_period == 3]
    assert all((kept == row).all(axis=1).any() for row in newest)


def test_no_cap_is_reported_where_all_rows_fit():
    model = DOUBLE.fit(
        training_rows(dense_rows(40)), FitOptions(seed=0, max_rows=40, memory_limit=1 << 30)
    )
    assert model.report["row_cap"] is None
    assert model.report["rows_used"] == 40


def limit_for(recipe, rows, num_rows):
    sizes = sizes_of(rows.interactions, rows.weights, 0, recipe.precision, recipe.reg)
    return estimate_bytes(sizes, num_rows)


def test_the_memory_limit_caps_the_rows_to_the_most_that_fit():
    rows = training_rows(dense_rows(3000))
    limit = limit_for(DOUBLE, rows, 1700)
    model = DOUBLE.fit(rows, FitOptions(seed=0, memory_limit=limit))
    assert model.report["rows_used"] == 1700
    assert model.report["row_cap"] == f"memory limit of {limit:,} bytes"
    assert model.report["bytes_estimated"] <= limit
    fewer = DOUBLE.fit(rows, FitOptions(seed=0, memory_limit=limit, max_rows=100))
    assert fewer.report["rows_used"] == 100


def test_many_items_are_scored_for_fewer_rows_at_a_time():
    assert [score_rows(items) for items in (0, 1, 2**17)] == [SCORE_ROWS] * 3
    assert score_rows(1_000_000) == 134
    assert score_rows(2**40) == 1
    entries = FitSizes(50_500, 1_000_000, 3_000_000, 100, 2000, "float32", 1.0, 1.0)
    # The kernel of a period and its summary takes 10 GB of it.
    assert estimate_bytes(entries, 50_500) < 16 << 30


@pytest.mark.parametrize(("num_rows", "num_items"), [(3000, 60), (300, 30_000)])
def test_a_fit_stays_within_its_estimate(num_rows, num_items):
    generator = np.random.default_rng(0)
    dense = (generator.random((num_rows, num_items)) < 8 / num_items).astype(np.float32)
    rows = training_rows(dense)
    del dense
    recipe = InfiniteAE(regs=(5.0, 50.0), validation_users=500)
    sizes = sizes_of(rows.interactions, rows.weights, 500, "auto", 5.0)
    tracemalloc.start()
    try:
        model = recipe.fit(rows, FitOptions(seed=0))
        next(model.score_blocks(rows.interactions[:1024], 1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= estimate_bytes(sizes, num_rows) <= 3 * peak
    assert model.report["bytes_estimated"] == estimate_bytes(sizes, num_rows)


def test_single_precision_is_taken_only_where_the_condition_is_known_to_be_mild():
    assert choose_dtype("auto", 6_000, 1.0, 1.0) == np.float32
    assert choose_dtype("auto", 6_000, 1.0, 1e-2) == np.float64
    assert choose_dtype("auto", 6_000, 100.0, 1.0) == np.float64
    assert choose_dtype("float32", 10**6, 1.0, 1e-6) == np.float32


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
    assert best_reg(recipe.sweep(held, FitOptions(seed=0)), recipe.regs) == 5.0
    found = figures(replace(recipe, reg=5.0).fit(rows, FitOptions(seed=0)), split.test)
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


def test_judged_rows_that_do_not_fit_are_refused():
    held = hold_out(training_rows(dense_rows(60)), seed=0)
    with pytest.raises(UserError, match=r"∞-AE needs .* for 60 rows, over the memory limit"):
        InfiniteAE().fit_with_holdout(held, held.training, FitOptions(seed=0, memory_limit=1000))
