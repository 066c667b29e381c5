"""The row cap keeps the newest rows and says nothing else."""

import numpy as np
from scipy.sparse import csr_array

from models.protocol import TrainingRows
from models.row_cap import cap_rows


def _rows(periods: list[int]) -> TrainingRows:
    num_rows = len(periods)
    return TrainingRows(
        interactions=csr_array(np.eye(num_rows, dtype=np.float32)),
        weights=np.arange(1.0, num_rows + 1),
        replayed=np.arange(num_rows) % 2 == 0,
        last_period=np.array(periods, dtype=np.int32),
    )


def test_no_cap_gives_the_same_rows():
    rows = _rows([1, 2, 3])
    assert cap_rows(rows, None, seed=1) is rows
    assert cap_rows(rows, 3, seed=1) is rows


def test_the_newest_rows_are_kept_in_their_order():
    rows = _rows([3, 1, 2, 3, 1])
    capped = cap_rows(rows, 3, seed=1)
    assert capped.last_period.tolist() == [3, 2, 3]
    assert capped.weights.tolist() == [1.0, 3.0, 4.0]
    assert capped.replayed.tolist() == [True, True, False]
    assert capped.interactions.toarray().argmax(axis=1).tolist() == [0, 2, 3]


def test_the_oldest_period_is_sampled_by_seed():
    rows = _rows([1] * 50 + [2] * 5)
    samples = [cap_rows(rows, 10, seed=seed).weights for seed in (1, 1, 2)]
    assert np.array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])
    assert all((sample > 50).sum() == 5 for sample in samples)
