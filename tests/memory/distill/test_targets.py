"""Leave-one-out predictions against fits without the user, and coefficients against arrays."""

import dataclasses

import numpy as np
import pytest
from distill_rows import tastes
from scipy.sparse import csr_array

import perennial.memory.distill.targets as module
from perennial.memory.distill.targets import LeaveOneOutTargets
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.infinite_ae.recipe import InfiniteAE

GENERATOR = np.random.default_rng(1)
ROWS = (GENERATOR.random((7, 20)) > 0.6).astype(np.float32)
REG = 3.0


def real_rows(rows):
    """Of weight 1."""
    count = len(rows)
    return TrainingRows(
        csr_array(rows), np.ones(count), np.zeros(count, dtype=np.bool_), np.ones(count, np.int32)
    )


def test_they_are_the_predictions_of_fits_without_the_user():
    targets = LeaveOneOutTargets(real_rows(ROWS), REG, 1.0, 20, seed=0).dense(np.arange(7))
    whole = InfiniteAE(reg=REG, precision="float64")
    diagonal = [(4 * (row**2).sum() / 20 + 0.02) + 0.01 for row in ROWS]
    for user in range(7):
        others = np.delete(np.arange(7), user)
        # λ scales with the mean of the diagonal; the closed form keeps that of all users.
        reg = REG * np.mean(diagonal) / np.mean(np.asarray(diagonal)[others])
        rows = TrainingRows(
            csr_array(ROWS[others]), np.ones(6), np.ones(6, dtype=np.bool_), np.ones(6, np.int32)
        )
        model = InfiniteAE(reg=float(reg), precision="float64").fit(rows, FitOptions(seed=0))
        expected = np.concatenate(list(model.score_blocks(csr_array(ROWS[[user]]), 1)))
        np.testing.assert_allclose(targets[user], expected[0], atol=5e-4)
    assert whole.reg == REG


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_targets_are_a_mixture(share):
    rows = real_rows(ROWS)
    pure = LeaveOneOutTargets(rows, REG, 1.0, 20, seed=0).dense(np.array([2, 5]))
    mixed = LeaveOneOutTargets(rows, REG, share, 20, seed=0).dense(np.array([2, 5]))
    np.testing.assert_allclose(mixed, share * pure + (1 - share) * ROWS[[2, 5]], atol=1e-5)


def test_a_replayed_row_is_predicted_by_the_fit_with_it():
    rows = dataclasses.replace(
        real_rows(ROWS),
        weights=np.array([1.0, 4, 1, 1, 2, 1, 1]),
        replayed=np.array([False, True, False, False, True, False, False]),
    )
    targets = LeaveOneOutTargets(rows, REG, 1.0, 20, seed=0).dense(np.array([1, 4]))
    model = InfiniteAE(reg=REG, precision="float64").fit(rows, FitOptions(seed=0))
    expected = np.concatenate(list(model.score_blocks(csr_array(ROWS[[1, 4]]), 2)))
    # float32's arccos between similar rows.
    np.testing.assert_allclose(targets, expected, atol=1e-3)


def test_a_weight_counts_as_so_many_users():
    """The row that stands for two users: the fit for a third is that on both."""
    twice = real_rows(ROWS[[0, 0, 1, 2, 3]])
    once = dataclasses.replace(real_rows(ROWS[:4]), weights=np.array([2.0, 1, 1, 1]))
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
