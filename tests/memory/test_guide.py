"""Leave-one-out predictions against leaving one out."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from memory.guide import Guide
from models.infinite_ae import InfiniteAE
from models.protocol import FitOptions, TrainingRows

GENERATOR = np.random.default_rng(1)
ROWS = (GENERATOR.random((7, 20)) > 0.6).astype(np.float32)
REG = 3.0


def test_they_are_the_predictions_of_fits_without_the_user():
    targets = Guide(csr_array(ROWS), REG, 1.0, 20).targets(np.arange(7))
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
    rows = csr_array(ROWS)
    pure = Guide(rows, REG, 1.0, 20).targets(np.array([2, 5]))
    mixed = Guide(rows, REG, share, 20).targets(np.array([2, 5]))
    np.testing.assert_allclose(mixed, share * pure + (1 - share) * ROWS[[2, 5]], atol=1e-5)
