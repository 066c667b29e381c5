"""Matrix factorisation: each half sweep is at its optimum, and new rows are folded in exactly."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from model_rows import planted, planted_hits, rows_of, scores_of
from scipy.sparse import csr_array, vstack

from perennial.models.base import FitOptions
from perennial.models.mf import solver as mf_blocks
from perennial.models.mf.recipe import MF, FittedMF
from perennial.models.mf.solver import Objective, first_items, solve_rows, sweep

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
    learnt, popular = planted_hits(fitted)
    assert learnt > popular + 0.15


def test_a_single_candidate_is_taken_without_a_trial():
    said: list[str] = []
    recipe = replace(SMALL, dimensions=(4,), unobserved=(0.1,), regs=(0.01,))
    model = recipe.fit(rows_of(planted()), FitOptions(1, progress=said.append))
    assert sum("4 sweeps" in line for line in said) == 1
    assert model.report["validation_HR@100"] is None
    assert model.items.shape == (50, 4)
