"""Leave-one-out predictions against leaving one out."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.memory.distill.targets import Guide
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
    targets = Guide(real_rows(ROWS), REG, 1.0, 20, seed=0).targets(np.arange(7))
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
    pure = Guide(rows, REG, 1.0, 20, seed=0).targets(np.array([2, 5]))
    mixed = Guide(rows, REG, share, 20, seed=0).targets(np.array([2, 5]))
    np.testing.assert_allclose(mixed, share * pure + (1 - share) * ROWS[[2, 5]], atol=1e-5)


def test_a_replayed_row_is_predicted_by_the_fit_with_it():
    rows = dataclasses.replace(
        real_rows(ROWS),
        weights=np.array([1.0, 4, 1, 1, 2, 1, 1]),
        replayed=np.array([False, True, False, False, True, False, False]),
    )
    targets = Guide(rows, REG, 1.0, 20, seed=0).targets(np.array([1, 4]))
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
    expected = Guide(twice, REG, 1.0, 20, seed=0).targets(np.array([2, 3, 4]))
    found = Guide(once, reg, 1.0, 20, seed=0).targets(np.array([1, 2, 3]))
    np.testing.assert_allclose(found, expected, atol=1e-3)
