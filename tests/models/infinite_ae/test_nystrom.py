"""∞-AE on centres: against the exact solution, a numerical optimum, and its promises."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import dense_rows, rows_of_dense, scores_of
from scipy.optimize import minimize
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Teacher
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.explanations import ExplainableModel
from perennial.models.infinite_ae.gram import make_tile_kernel
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.memory_estimate import estimate_bytes, sizes_of
from perennial.models.infinite_ae.nystrom import Centres, NormalEquations, draw_centres
from perennial.models.infinite_ae.nystrom_model import FittedNystromAE
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.pop import Pop
from perennial.models.registry import make_recipe
from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError

NUM_ITEMS = 30
OPTIONS = FitOptions(seed=0)
EXACT = InfiniteAE(reg=2.0, precision="float64")
ON_CENTRES = replace(EXACT, centres=25)
WEIGHTS = np.random.default_rng(1).uniform(0.3, 4.0, 60)


def make_rows(num_rows=60, seed=0, soft=False, weights=WEIGHTS, **changes):
    return rows_of_dense(dense_rows(num_rows, NUM_ITEMS, seed, soft=soft), weights, **changes)


def kernel_of(left, right):
    with jax.enable_x64(True):
        left, right = (np.asarray(rows, dtype=np.float64) for rows in (left, right))
        return np.asarray(kernel_matrix(left, right, KernelSettings()))


def gram_of(rows):
    with jax.enable_x64(True):
        return np.asarray(kernel_gram(np.asarray(rows, dtype=np.float64), KernelSettings()))


def by_the_equation(dense, weights, chosen, contexts, reg):
    """K(x, C)(K(C, X) W K(X, C) + λ' K(C, C))⁻¹ K(C, X) W X, in float64."""
    cross = kernel_of(dense, dense[chosen])
    ridge = reg * np.average(np.diag(gram_of(dense)), weights=weights)
    left = cross.T @ (weights[:, None] * cross) + ridge * gram_of(dense[chosen])
    return kernel_of(contexts, dense[chosen]) @ np.linalg.solve(
        left, cross.T @ (weights[:, None] * dense)
    )


@pytest.mark.parametrize("backend", ["closed-form", "neural-tangents"])
@pytest.mark.parametrize("soft", [False, True])
def test_scores_are_those_of_the_normal_equations(backend, soft):
    rows, contexts = make_rows(soft=soft), dense_rows(9, NUM_ITEMS, seed=2)
    contexts[0] = 0
    model = replace(ON_CENTRES, backend=backend).fit(rows, OPTIONS)
    assert isinstance(model, FittedNystromAE)
    assert len(model.chosen) == model.report["centres"] == 25
    expected = by_the_equation(
        rows.interactions.toarray(), rows.weights, model.chosen, contexts, 2.0
    )
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=2e-6)


def test_no_other_combination_of_centres_costs_less():
    """The stated objective, minimised numerically from nothing, ends at the same scores."""
    dense = dense_rows(12, 4, soft=True)
    weights = WEIGHTS[:12]
    rows = rows_of_dense(dense, weights)
    model = replace(ON_CENTRES, centres=5).fit(rows, OPTIONS)
    cross, among = kernel_of(dense, dense[model.chosen]), gram_of(dense[model.chosen])
    ridge = 2.0 * np.average(np.diag(gram_of(dense)), weights=weights)

    def cost(flat):
        beta = flat.reshape(5, 4)
        missed = cross @ beta - dense
        cost = (weights[:, None] * missed**2).sum() + ridge * np.sum(beta * (among @ beta))
        slope = cross.T @ (weights[:, None] * missed) + ridge * among @ beta
        return cost, 2 * slope.ravel()

    found = minimize(cost, np.zeros(20), jac=True, method="BFGS", options={"gtol": 1e-9})
    contexts = dense_rows(6, 4, seed=3)
    expected = kernel_of(contexts, dense[model.chosen]) @ found.x.reshape(5, 4)
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=2e-5)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    num_rows=st.integers(1, 40),
    reg=st.sampled_from([1.0, 5.0, 100.0]),
    soft=st.booleans(),
    spare=st.sampled_from([0, 10_000]),
)
def test_with_all_rows_as_centres_it_is_the_exact_solution(seed, num_rows, reg, soft, spare):
    """Equal rows among them too, which makes K(C, C) singular without its jitter."""
    dense = dense_rows(num_rows, NUM_ITEMS, seed, soft=soft)
    dense = np.concatenate([dense, dense[:2]])
    rows = rows_of_dense(dense, np.random.default_rng(seed).uniform(0.3, 4, len(dense)))
    contexts = dense_rows(5, NUM_ITEMS, seed + 1)
    exact = replace(EXACT, reg=reg).fit(rows, OPTIONS)
    model = replace(EXACT, reg=reg, centres=len(dense) + spare).fit(rows, OPTIONS)
    np.testing.assert_allclose(scores_of(model, contexts), scores_of(exact, contexts), atol=1e-5)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), copies=st.lists(st.integers(1, 3), min_size=12, max_size=12))
def test_a_row_of_weight_two_is_two_equal_rows(seed, copies):
    dense = dense_rows(12, NUM_ITEMS, seed)
    kernel = make_tile_kernel("closed-form", KernelSettings(), NUM_ITEMS, np.dtype(np.float64))
    first = np.cumsum([0, *copies[:-1]])
    of_weights = np.asarray(copies, dtype=np.float64)
    sums = []
    for matrix, weights, chosen in (
        (dense, of_weights, np.arange(0, 12, 3)),
        (np.repeat(dense, copies, axis=0), np.ones(sum(copies)), first[::3]),
    ):
        rows = csr_array(matrix)
        centres = Centres.of(rows, chosen, kernel, 1e-6)
        sums.append(
            NormalEquations.of(centres, rows, weights, np.dtype(np.float64), lambda text: None)
        )
    (weighted, repeated) = sums
    assert weighted.mean_diagonal == pytest.approx(repeated.mean_diagonal)
    np.testing.assert_allclose(np.tril(weighted.gram), np.tril(repeated.gram), rtol=1e-9)
    np.testing.assert_allclose(weighted.right, repeated.right, rtol=1e-9, atol=1e-12)


def test_more_centres_come_nearer_to_the_exact_solution():
    rows, contexts = make_rows(400, weights=None), dense_rows(50, NUM_ITEMS, seed=5)
    exact = scores_of(EXACT.fit(rows, OPTIONS), contexts)
    wrong = [
        np.sqrt(
            np.mean(
                (scores_of(replace(EXACT, centres=m).fit(rows, OPTIONS), contexts) - exact) ** 2
            )
        )
        for m in (5, 20, 100, 400)
    ]
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[-1] < 1e-5 < 1e-3 < wrong[0]


def test_blocks_of_rows_are_summed_alike():
    """More rows than a tile holds, popular items and others."""
    generator = np.random.default_rng(0)
    dense = (generator.random((2500, 60)) < np.linspace(0.4, 0.005, 60)).astype(np.float32)
    weights = generator.uniform(0.5, 2, 2500)
    messages = []
    recipe = InfiniteAE(reg=5.0, centres=1100, precision="float64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perennial.models.infinite_ae.nystrom.PROGRESS_ROWS", 1024)
        model = recipe.fit(
            rows_of_dense(dense, weights), FitOptions(seed=3, progress=messages.append)
        )
    contexts = dense[:1200]
    expected = by_the_equation(dense, weights, model.chosen, contexts, 5.0)
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=1e-5)
    assert "∞-AE: 2,048 of 2,500 rows on 1,100 centres" in messages


def test_single_precision_is_taken_for_the_right_side_where_it_is_mild():
    rows, contexts = make_rows(200, weights=None), dense_rows(9, NUM_ITEMS, seed=2)
    single = InfiniteAE(reg=5.0, centres=40).fit(rows, OPTIONS)
    double = InfiniteAE(reg=5.0, centres=40, precision="float64").fit(rows, OPTIONS)
    assert (single.report["dtype"], double.report["dtype"]) == ("float32", "float64")
    np.testing.assert_allclose(scores_of(single, contexts), scores_of(double, contexts), atol=1e-4)


@settings(max_examples=30)
@given(seed=st.integers(0, 100), count=st.integers(1, 30))
def test_centres_are_drawn_once_each_and_by_seed(seed, count):
    weights = np.linspace(1, 2, 20)
    chosen = draw_centres(weights, count, seed)
    assert len(chosen) == min(count, 20)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, draw_centres(weights, count, seed))


def test_a_heavy_row_is_a_likely_centre():
    weights = np.ones(100)
    weights[7] = 1000
    assert sum(7 in draw_centres(weights, 3, seed) for seed in range(200)) > 190
    assert len({tuple(draw_centres(weights, 3, seed)) for seed in range(20)}) > 10


def test_validation_chooses_by_f_itself_then_all_rows_are_used():
    dense = dense_rows(150, 400, most=0.3)
    rows = rows_of_dense(dense)
    recipe = InfiniteAE(regs=(0.5, 5.0, 50.0), centres=40, precision="float64")
    held = hold_out(rows, seed=3, share=0.2, max_users=30)
    swept = recipe.sweep(held, OPTIONS)
    training, seen = held.training.interactions.toarray(), held.contexts.toarray() > 0
    chosen = draw_centres(rows.weights, 40, derive_seed(OPTIONS.seed, "centres"))
    targets = held.targets.toarray() > 0
    for reg, score in swept.items():
        full = by_the_equation(training, rows.weights, chosen, training[held.users], reg)
        order = np.argsort(-np.where(seen, -np.inf, full), axis=1)[:, :100]
        hits = np.take_along_axis(targets, order, axis=1).sum(axis=1)
        expected = 100 * np.mean(hits / np.minimum(100, targets.sum(axis=1)))
        assert score == pytest.approx(expected, abs=0.3)
    assert len(set(swept.values())) > 1
    fixed = recipe.fit_with_holdout(held, held.training, OPTIONS)
    assert fixed.report["validation"] == {f"{reg:g}": score for reg, score in swept.items()}
    assert fixed.report["reg"] == max(swept, key=lambda reg: (swept[reg], reg))
    other = recipe.fit_with_holdout(held, rows, OPTIONS)
    assert other.report["reg"] == fixed.report["reg"]
    expected = by_the_equation(dense, rows.weights, chosen, dense[:4], other.report["reg"])
    np.testing.assert_allclose(scores_of(other, dense[:4]), expected, atol=1e-5)


def test_contributions_of_all_rows_sum_to_the_score():
    rows = make_rows(replayed=np.arange(60) % 3 == 0)
    model = ON_CENTRES.fit(rows, OPTIONS)
    assert isinstance(model, ExplainableModel)
    assert isinstance(model, Teacher)
    context = csr_array(dense_rows(1, NUM_ITEMS, seed=4))
    items = np.array([0, 3, 3, 20])
    told = model.explain(context, items)
    assert told.contributions.shape == (4, 60)
    np.testing.assert_allclose(
        told.contributions.sum(axis=1), scores_of(model, context)[0, items], atol=1e-5
    )
    np.testing.assert_array_equal(told.replayed, rows.replayed)
    others = np.setdiff1d(np.arange(60), model.chosen)
    assert np.abs(told.contributions[:, others]).max() > 0, "not the centres alone"
    exact = EXACT.fit(rows, OPTIONS).explain(context, items)
    np.testing.assert_allclose(told.similarity, exact.similarity, rtol=1e-6)
    np.testing.assert_allclose(
        model.similarity(rows.interactions[:5]),
        EXACT.fit(rows, OPTIONS).similarity(rows.interactions[:5]),
    )
    everything = replace(EXACT, centres=60).fit(rows, OPTIONS).explain(context, items)
    np.testing.assert_allclose(everything.contributions, exact.contributions, atol=1e-5)


@pytest.mark.parametrize("num_rows", [0, 1, 2])
@pytest.mark.parametrize("num_items", [0, 1, NUM_ITEMS])
def test_hardly_any_data(num_rows, num_items):
    dense = np.ones((num_rows, num_items), dtype=np.float32)
    model = InfiniteAE(centres=5).fit(rows_of_dense(dense), OPTIONS)
    contexts = np.ones((3, num_items), dtype=np.float32)
    exact, scores = InfiniteAE().fit(rows_of_dense(dense), OPTIONS), scores_of(model, contexts)
    assert scores.shape == (3, num_items)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, scores_of(exact, contexts), atol=1e-5)
    for one in (exact, model):
        assert scores_of(one, contexts[:0]).shape == (0, num_items)
    back = InfiniteAE().restore(*model.to_arrays())
    np.testing.assert_array_equal(scores_of(back, contexts), scores)
    if num_rows == 0:
        assert not scores.any()
        assert exact.report["reg"] == model.report["reg"] == 20.0
    elif num_items:
        told = model.explain(csr_array(contexts[:1]), np.array([0]))
        assert told.contributions.sum() == pytest.approx(float(scores[0, 0]), abs=1e-5)


def test_rows_with_a_teacher_are_refused_in_one_line():
    rows = make_rows()
    teacher = Pop().fit(rows, OPTIONS)
    with pytest.raises(UserError, match=r"leave --set infinite-ae\.centres out"):
        ON_CENTRES.fit(replace(rows, teacher=teacher), OPTIONS)


def test_settings_of_runs_without_centres_are_those_of_before():
    assert "centres" not in InfiniteAE().settings
    recipe = make_recipe("infinite-ae", {"centres": "500"})
    assert (recipe, recipe.settings["centres"]) == (InfiniteAE(centres=500), 500)


def test_the_memory_limit_caps_rows_as_ever_and_never_centres():
    rows = make_rows(3000, weights=None)
    recipe = InfiniteAE(reg=5.0, centres=50)
    sizes = sizes_of(rows.interactions, rows.weights, 0, "auto", 5.0, num_centres=50)
    limit = estimate_bytes(sizes, 1700)
    model = recipe.fit(rows, FitOptions(seed=0, memory_limit=limit))
    assert (model.report["rows_used"], model.report["centres"]) == (1700, 50)
    assert model.report["bytes_estimated"] <= limit
    with pytest.raises(UserError, match=r"50 centres and 30 items take .*centres=M"):
        recipe.fit(rows, FitOptions(seed=0, memory_limit=estimate_bytes(sizes, 50) - 1))
    held = hold_out(rows, seed=0)
    with pytest.raises(UserError, match=r"∞-AE needs .* for 3,000 rows, over the memory limit"):
        recipe.fit_with_holdout(held, rows, FitOptions(seed=0, memory_limit=1000))
