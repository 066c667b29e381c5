"""The row cap keeps the newest rows, and what a memory replays beside them."""

from collections.abc import Collection

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from model_rows import rows_of_dense

from perennial.models.base import TrainingRows, cap_rows


def _rows(periods: list[int], replayed: Collection[int] = ()) -> TrainingRows:
    """A row for each period given, its weight its number from 1; some of them replayed."""
    num_rows = len(periods)
    return rows_of_dense(
        np.eye(num_rows),
        np.arange(1.0, num_rows + 1),
        replayed=np.isin(np.arange(num_rows), list(replayed)),
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
    assert capped.interactions.toarray().argmax(axis=1).tolist() == [0, 2, 3]


def test_what_a_memory_replays_is_kept_though_it_is_older():
    rows = _rows([1, 2, 3, 3, 3, 3, 3, 3], replayed={0, 1})
    capped = cap_rows(rows, 6, seed=1)
    assert capped.replayed.tolist() == [True, True, False, False, False, False]
    assert capped.weights.tolist()[:2] == [1.0, 2.0]


def test_it_takes_half_of_the_places_unless_the_others_are_fewer():
    many = _rows([1, 1, 1, 2, 2, 3, 3, 3, 3], replayed=range(5))
    capped = cap_rows(many, 4, seed=1)
    assert capped.weights.tolist()[:2] == [4.0, 5.0]
    assert capped.replayed.tolist() == [True, True, False, False]
    few = _rows([1, 1, 1, 2, 2, 3], replayed=range(5))
    assert cap_rows(few, 4, seed=1).replayed.tolist() == [True, True, True, False]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_as_many_rows_as_the_cap_lets_through(drawn, cap):
    rows = _rows([period for period, _ in drawn], np.flatnonzero([old for _, old in drawn]))
    capped = cap_rows(rows, cap, seed=0)
    assert capped.num_rows == min(cap, rows.num_rows)
    assert (np.diff(capped.weights) > 0).all()
    assert capped.replayed.sum() >= min(rows.replayed.sum(), cap // 2)


def test_the_oldest_period_is_sampled_by_seed():
    rows = _rows([1] * 50 + [2] * 5)
    samples = [cap_rows(rows, 10, seed=seed).weights for seed in (1, 1, 2)]
    assert np.array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])
    assert all((sample > 50).sum() == 5 for sample in samples)
