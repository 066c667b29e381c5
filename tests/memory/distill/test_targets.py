"""Leave-one-out predictions against fits without the user, and coefficients against arrays."""

import numpy as np
import pytest
from distill_rows import tastes
from model_rows import rows_of_dense, scores_of

import perennial.memory.distill.targets as module
from perennial.memory.distill.targets import LeaveOneOutTargets
from perennial.models.base import FitOptions
from perennial.models.infinite_ae.recipe import InfiniteAE

GENERATOR = np.random.default_rng(1)
ROWS = (GENERATOR.random((7, 20)) > 0.6).astype(np.float32)
REG = 3.0


def test_they_are_the_predictions_of_fits_without_the_user():
    targets = LeaveOneOutTargets(rows_of_dense(ROWS), REG, 1.0, 20, seed=0).dense(np.arange(7))
    diagonal = [(4 * (row**2).sum() / 20 + 0.02) + 0.01 for row in ROWS]
    for user in range(7):
        others = np.delete(np.arange(7), user)
        # λ scales with the mean of the diagonal; the closed form keeps that of all users.
        reg = REG * np.mean(diagonal) / np.mean(np.asarray(diagonal)[others])
        rows = rows_of_dense(ROWS[others], replayed=np.ones(6, dtype=np.bool_))
        model = InfiniteAE(reg=float(reg), precision="float64").fit(rows, FitOptions(seed=0))
        np.testing.assert_allclose(targets[user], scores_of(model, ROWS[[user]])[0], atol=5e-4)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_targets_are_a_mixture(share):
    rows = rows_of_dense(ROWS)
    pure = LeaveOneOutTargets(rows, REG, 1.0, 20, seed=0).dense(np.array([2, 5]))
    mixed = LeaveOneOutTargets(rows, REG, share, 20, seed=0).dense(np.array([2, 5]))
    np.testing.assert_allclose(mixed, share * pure + (1 - share) * ROWS[[2, 5]], atol=1e-5)


def test_a_replayed_row_is_predicted_by_the_fit_with_it():
    replayed = np.array([False, True, False, False, True, False, False])
    rows = rows_of_dense(ROWS, [1, 4, 1, 1, 2, 1, 1], replayed=replayed)
    targets = LeaveOneOutTargets(rows, REG, 1.0, 20, seed=0).dense(np.array([1, 4]))
    model = InfiniteAE(reg=REG, precision="float64").fit(rows, FitOptions(seed=0))
    expected = scores_of(model, ROWS[[1, 4]])
    # float32's arccos between similar rows.
    np.testing.assert_allclose(targets, expected, atol=1e-3)


def test_a_weight_counts_as_so_many_users():
    """The row that stands for two users: the fit for a third is that on both."""
    twice = rows_of_dense(ROWS[[0, 0, 1, 2, 3]])
    once = rows_of_dense(ROWS[:4], [2, 1, 1, 1])
    trace = np.array([4 * (row**2).sum() / 20 + 0.03 for row in ROWS])
    # λ scales with the mean of the diagonal over the rows that are there.
    reg = REG * trace[[0, 0, 1, 2, 3]].mean() / trace[:4].mean()
    expected = LeaveOneOutTargets(twice, REG, 1.0, 20, seed=0).dense(np.array([2, 3, 4]))
    found = LeaveOneOutTargets(once, float(reg), 1.0, 20, seed=0).dense(np.array([1, 2, 3]))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(("share", "replayed"), [(0.0, 0), (0.9, 0), (1.0, 3)])
def test_coefficients_give_the_targets_without_making_them(share, replayed, monkeypatch):
    monkeypatch.setattr(module, "_SQUARED_LANDMARKS", 16)
    monkeypatch.setattr(module, "_SQUARED_USERS", 9)
    rows, users = tastes(40, 50), np.array([2, 3, 11, 30])
    rows.replayed[:replayed] = True
    rows.weights[:replayed] = 4.0
    targets = LeaveOneOutTargets(rows, 5.0, share, 50, seed=0)
    dense = targets.dense(np.arange(40))
    np.testing.assert_allclose(targets.squares(), (dense**2).sum(axis=1), rtol=2e-5)

    others = np.random.default_rng(0).random((6, 50)).astype(np.float32)
    similar = rows.interactions @ np.ascontiguousarray(others.T)
    np.testing.assert_allclose(
        targets.inner(users, similar), dense[users] @ others.T, rtol=1e-4, atol=1e-4
    )

    slopes = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    combined = rows.interactions.T @ targets.coefficients(users, slopes)
    np.testing.assert_allclose(combined, dense[users].T @ slopes, atol=1e-4)
