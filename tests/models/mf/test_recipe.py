"""Matrix factorisation: each half sweep is at its optimum, and new rows are folded in exactly."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from model_rows import planted, rows_of, scores_of
from scipy.optimize import minimize
from scipy.sparse import csr_array, vstack

from perennial.models.base import FitOptions
from perennial.models.holdout import hold_out
from perennial.models.mf import solver as mf_blocks
from perennial.models.mf.recipe import MF, FittedMF
from perennial.models.mf.solver import Objective, first_items, solve_rows, sweep
from perennial.models.registry import make_recipe
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import load_arrays, save_arrays

SMALL = MF(dimensions=(4, 6), unobserved=(0.1, 0.3), regs=(0.01, 0.1), sweeps=4)
OBJECTIVE = Objective(unobserved=0.2, reg=0.05, exponent=0.7)


def _soft(num_rows: int = 9, num_items: int = 7, seed: int = 0) -> csr_array:
    generator = np.random.default_rng(seed)
    values = generator.random((num_rows, num_items)) * (generator.random((num_rows, 1)) < 0.9)
    return csr_array(np.where(values > 0.4, values, 0.0).astype(np.float32))


def _loss(matrix: csr_array, weights: np.ndarray, users: np.ndarray, items: np.ndarray) -> float:
    """The objective over all cells, as the docstring of `mf_solving` has it."""
    alpha, reg, nu = OBJECTIVE.unobserved, OBJECTIVE.reg, OBJECTIVE.exponent
    observed, scores = matrix.toarray().astype(np.float64), users @ items.T
    cells = observed * (1 - scores) ** 2 + alpha * scores**2
    of_users = (observed.sum(axis=1) + alpha * len(items)) ** nu * (users**2).sum(axis=1)
    of_items = (weights @ observed + alpha * weights.sum()) ** nu * (items**2).sum(axis=1)
    return float(weights @ (cells.sum(axis=1) + reg * of_users) + reg * of_items.sum())


@pytest.fixture(scope="module")
def fitted() -> FittedMF:
    return SMALL.fit(rows_of(planted()), FitOptions(seed=1))


@pytest.mark.parametrize("width", [2, 5, 12])
def test_each_half_sweep_ends_where_the_gradient_is_zero(width: int):
    matrix, weights = _soft(), np.linspace(0.5, 2.0, 9)
    items = np.random.default_rng(1).standard_normal((7, width))
    users = solve_rows(matrix, items, np.ones(7), OBJECTIVE)
    solved = solve_rows(matrix.T.tocsr(), users, weights, OBJECTIVE)

    def check(vectors: np.ndarray, of_users: bool) -> None:
        def changed(step: np.ndarray) -> float:
            moved = vectors + step
            pair = (moved, items) if of_users else (users, moved)
            return _loss(matrix, weights, *pair)

        for index in np.ndindex(vectors.shape):
            step = np.zeros_like(vectors)
            step[index] = 1e-4
            assert abs(changed(step) - changed(-step)) / 2e-4 < 1e-6
            assert changed(step) > changed(0 * step)

    check(users, True)
    check(solved, False)


def test_the_loss_never_grows():
    matrix, weights = _soft(), np.linspace(0.5, 2.0, 9)
    sweeps = sweep(matrix, weights, first_items(7, 3, seed=1).astype(np.float64), OBJECTIVE)
    losses = [_loss(matrix, weights, *solved) for solved in islice(sweeps, 30)]
    assert (np.diff(losses) <= 1e-12).all()


def test_sweeps_end_where_a_general_optimiser_ends():
    matrix, weights = _soft(), np.linspace(0.5, 2.0, 9)
    items = first_items(7, 2, seed=1).astype(np.float64)
    *_, (users, solved) = islice(sweep(matrix, weights, items, OBJECTIVE), 150)
    reached = _loss(matrix, weights, users, solved)

    def flat(vectors: np.ndarray) -> float:
        pair = vectors.reshape(16, 2)
        return _loss(matrix, weights, pair[:9], pair[9:])

    first = np.concatenate([solve_rows(matrix, items, np.ones(7), OBJECTIVE), items]).ravel()
    found = minimize(flat, first, method="L-BFGS-B", options={"maxfun": 100_000, "ftol": 1e-14})
    assert reached == pytest.approx(found.fun, rel=1e-6)


def test_a_weight_is_a_repetition():
    matrix = _soft()
    weights = np.array([1, 3, 1, 1, 2, 1, 1, 1, 1], dtype=np.float64)
    repeated = vstack([matrix[[u]] for u in range(9) for _ in range(int(weights[u]))]).tocsr()
    items = first_items(7, 3, seed=1).astype(np.float64)
    (_, weighed), *_ = islice(sweep(matrix, weights, items, OBJECTIVE), 3, 4)
    (_, counted), *_ = islice(sweep(csr_array(repeated), np.ones(12), items, OBJECTIVE), 3, 4)
    np.testing.assert_allclose(weighed, counted, atol=1e-9)


def test_a_training_row_is_folded_in_to_its_own_vector():
    matrix = planted()
    items = first_items(50, 6, seed=1)
    *_, (_, items) = islice(sweep(matrix, np.ones(160), items, OBJECTIVE), 3)
    users = solve_rows(matrix, items, np.ones(50), OBJECTIVE)
    model = FittedMF(items, OBJECTIVE, {})
    np.testing.assert_allclose(model.fold_in(matrix[20:30]), users[20:30], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores_of(model, matrix), users @ items.T, atol=1e-5)


def test_short_and_long_rows_are_solved_alike():
    """Rows with fewer entries than dimensions, and with more, against plain normal equations."""
    generator = np.random.default_rng(3)
    counts = np.array([0, 1, 5, 70, 130, 200, 299, 300])
    dense = np.zeros((8, 300), dtype=np.float32)
    for row, count in enumerate(counts):
        dense[row, generator.permutation(300)[:count]] = 1.0
    columns = generator.standard_normal((300, 150))
    solved = solve_rows(csr_array(dense), columns, np.ones(300), OBJECTIVE)
    for row, count in enumerate(counts):
        chosen = columns[dense[row] > 0]
        matrix = OBJECTIVE.unobserved * columns.T @ columns + chosen.T @ chosen
        matrix += np.eye(150) * OBJECTIVE.penalties(np.array([float(count)]), 300.0)
        np.testing.assert_allclose(
            solved[row], np.linalg.solve(matrix, chosen.sum(axis=0)), rtol=1e-6, atol=1e-9
        )


def test_tiles_give_the_plain_products_and_solutions():
    generator = np.random.default_rng(0)
    left, right = generator.random((3, 70, 150)), generator.random((3, 150, 65))
    np.testing.assert_allclose(mf_blocks.multiply(left, right), left @ right)
    flipped = left.transpose(0, 2, 1)
    np.testing.assert_allclose(mf_blocks.gram(left), flipped @ left)
    tall = generator.random((200, 70))
    np.testing.assert_allclose(mf_blocks.gram_of_all(tall), tall.T @ tall)
    np.testing.assert_allclose(mf_blocks.turn_all(tall, right[0, :70]), tall @ right[0, :70])
    matrices, sides = flipped @ left + np.eye(150), generator.random((3, 150, 2))
    np.testing.assert_allclose(
        mf_blocks.solve_symmetric(matrices, sides), np.linalg.solve(matrices, sides), atol=1e-9
    )


def test_planted_blocks_are_learnt_where_popularity_fails(fitted: FittedMF):
    fresh = planted(seed=9)
    contexts = fresh.copy()
    contexts.data[np.random.default_rng(2).random(contexts.nnz) < 0.3] = 0
    contexts.eliminate_zeros()
    hidden = (fresh - contexts).toarray() > 0
    popularity = np.tile(np.asarray(planted().sum(axis=0)), (160, 1))

    def share_hit(scores: np.ndarray) -> float:
        masked = np.where(contexts.toarray() > 0, -np.inf, scores)
        best = np.argsort(-masked, axis=1)[:, :5]
        hits = np.take_along_axis(hidden, best, axis=1).sum(axis=1)
        return float(hits.sum() / np.minimum(5, hidden.sum(axis=1)).sum())

    assert share_hit(scores_of(fitted, contexts)) > share_hit(popularity) + 0.15


def test_a_fit_is_the_same_to_the_bit_for_a_seed(fitted: FittedMF):
    again, other = (SMALL.fit(rows_of(planted()), FitOptions(seed=seed)) for seed in (1, 2))
    assert np.array_equal(fitted.items, again.items)
    assert not np.array_equal(fitted.items, other.items)
    assert fitted.report == again.report


def test_the_report_has_the_grid_and_the_choice(fitted: FittedMF):
    report = fitted.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    # Two times two at the first dimension, and the best of them at the second.
    assert len(report["trials"]) == 5
    assert report["chosen"].items() <= report["trials"][0].items()
    assert report["validation_HR@100"] == max(one["HR@100"] for one in report["trials"])
    assert fitted.items.shape == (50, report["chosen"]["dimension"])
    assert report["rows_given"] == report["rows_used"] == 160


def test_the_chosen_model_is_used_again_where_the_rows_are_the_same():
    held = hold_out(rows_of(planted()), seed=3)
    said: list[str] = []
    model = SMALL.fit_judged(held, held.training, FitOptions(1, progress=said.append))
    assert sum("4 sweeps" in line for line in said) == 5
    anew = SMALL.fit_judged(held, replace(held.training), FitOptions(1))
    assert np.array_equal(model.items, anew.items)


def test_a_single_candidate_is_taken_without_a_trial():
    said: list[str] = []
    recipe = replace(SMALL, dimensions=(4,), unobserved=(0.1,), regs=(0.01,))
    report = recipe.fit(rows_of(planted()), FitOptions(1, progress=said.append)).report
    assert sum("4 sweeps" in line for line in said) == 1
    assert report["validation_HR@100"] is None


def test_saving_and_restoring_keeps_the_scores_to_the_bit(fitted: FittedMF, tmp_path: Path):
    path = save_arrays(tmp_path, "model", *fitted.to_arrays())
    restored = SMALL.restore(*load_arrays(path))
    assert np.array_equal(scores_of(restored, planted(3)), scores_of(fitted, planted(3)))
    assert restored.report == fitted.report


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, manifest: arrays.pop("items"),
        lambda arrays, manifest: arrays.update(items=arrays["items"][0]),
        lambda arrays, manifest: arrays.update(items=arrays["items"] * np.float32(np.nan)),
        lambda arrays, manifest: manifest.pop("objective"),
        lambda arrays, manifest: manifest["objective"].update(reg=0.0),
        lambda arrays, manifest: manifest.update(report=3),
    ],
)
def test_a_damaged_model_is_refused(fitted: FittedMF, damage):
    arrays, manifest = fitted.to_arrays()
    damage(arrays, manifest)
    with pytest.raises(UserError, match="fit it again"):
        SMALL.restore(arrays, manifest)


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((0, 5)), np.zeros((3, 5)), np.array([[1, 0, 1, 1, 0]]), np.ones((4, 1))],
    ids=["no rows", "empty rows", "one row", "one item"],
)
def test_little_data_gives_a_model_with_finite_scores(matrix: np.ndarray):
    model = SMALL.fit(rows_of(csr_array(matrix.astype(np.float32))), FitOptions(seed=1))
    asked = csr_array(np.vstack([matrix, np.zeros((1, matrix.shape[1]))]).astype(np.float32))
    scores = scores_of(model, asked)
    assert scores.shape == asked.shape
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert not scores[-1].any()


def test_replayed_rows_are_never_judged_and_the_row_cap_is_applied():
    rows = rows_of(planted(), replayed=np.arange(160) >= 20)
    assert SMALL.fit(rows, FitOptions(seed=1)).report["validation_users"] <= 20
    report = SMALL.fit(rows_of(planted()), FitOptions(seed=1, max_rows=100)).report
    assert (report["rows_given"], report["rows_used"]) == (160, 100)
    nobody = SMALL.fit(rows_of(planted(), replayed=np.ones(160, np.bool_)), FitOptions(seed=1))
    assert nobody.report["chosen"] == {"dimension": 4, "unobserved": 0.1, "reg": 0.01}
    assert nobody.report["validation_HR@100"] is None


def test_over_the_memory_limit_nothing_is_fitted():
    with pytest.raises(UserError, match=r"mf needs .* 50 items, over the memory limit"):
        SMALL.fit(rows_of(planted()), FitOptions(seed=1, memory_limit=10_000))
    SMALL.fit(rows_of(planted()), FitOptions(seed=1, memory_limit=1 << 30))


def test_contexts_of_another_width_are_refused(fitted: FittedMF):
    with pytest.raises(ValueError, match="51 items"):
        next(fitted.score_blocks(csr_array((2, 51), dtype=np.float32), 2))


def test_settings_come_from_text_and_are_checked():
    recipe = make_recipe("mf", {"dimensions": (16,), "sweeps": "3"})
    assert isinstance(recipe, MF)
    assert (recipe.dimensions, recipe.sweeps, recipe.name) == ((16,), 3, "mf")
    for setting in ({"dimensions": ()}, {"regs": (0.0,)}, {"exponent": -1}, {"sweeps": 0}):
        with pytest.raises(UserError):
            make_recipe("mf", setting)
