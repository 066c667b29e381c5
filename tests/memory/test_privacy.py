"""Nearness and membership on small cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.privacy import (
    SIMILARITIES,
    area_under_curve,
    containment,
    jaccard,
    measure_nearness,
    membership_test,
    nearest,
    percentiles,
    split_users,
)

REAL = csr_array(np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 0, 1]], dtype=np.float32))
SYNTHETIC = csr_array(np.array([[0.2, 0.9, 0.1, 0, 0], [0, 0, 0, 0, 0.5]], dtype=np.float32))


def random_rows(generator, count, num_items=30, filled=0.3):
    return csr_array((generator.random((count, num_items)) < filled).astype(np.float32))


def test_known_similarities():
    # Items {0,1,2} beside {0,1}: two of three. Item {4} beside {0,4}: one of two.
    np.testing.assert_allclose(nearest(SYNTHETIC, REAL, jaccard), [2 / 3, 1 / 2])
    # What share of a real user's items a synthetic one holds.
    np.testing.assert_allclose(nearest(REAL, SYNTHETIC, containment), [1, 1 / 3, 1 / 2])


def test_nobody_is_near_nobody():
    empty = csr_array((0, 5), dtype=np.float32)
    np.testing.assert_array_equal(nearest(SYNTHETIC, empty, jaccard), [0, 0])
    assert nearest(empty, REAL, jaccard).shape == (0,)
    assert np.isnan(percentiles(np.zeros(0))).all()


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12))
def test_similarities_lie_between_0_and_1_and_blocks_change_nothing(seed, count, others):
    generator = np.random.default_rng(seed)
    rows, beside = random_rows(generator, count, 8), random_rows(generator, others, 8)
    for similarity in SIMILARITIES.values():
        found = nearest(rows, beside, similarity)
        assert ((found >= 0) & (found <= 1)).all()
        one_by_one = [nearest(rows[[row]], beside, similarity)[0] for row in range(count)]
        np.testing.assert_array_equal(found, one_by_one)
        assert (nearest(rows, rows, similarity)[np.diff(rows.indptr) > 0] == 1).all()


@given(st.integers(0, 50), st.integers(0, 100))
def test_halves_are_all_users_once(num_users, seed):
    one, other = split_users(num_users, seed)
    assert sorted([*one, *other]) == list(range(num_users))
    assert 0 <= len(other) - len(one) <= 1


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0), ([1, 1], [1, 1], 0.5), ([1, 3], [2, 2], 0.5)],
)
def test_known_areas(inside, outside, expected):
    assert area_under_curve(np.asarray(inside, float), np.asarray(outside, float)) == expected


def test_a_summary_of_the_real_rows_gives_its_members_away():
    generator = np.random.default_rng(0)
    members, strangers = random_rows(generator, 60), random_rows(generator, 60)
    found = membership_test(members, members, strangers, "Jaccard", seed=0)
    assert found.auc > 0.99
    assert found.low > 0.95
    nearness = measure_nearness(members, members, seed=0)
    assert nearness.nearer_than_real == 1.0
    np.testing.assert_array_equal(nearness.synthetic, 1)


def test_a_summary_of_others_tells_nothing():
    generator = np.random.default_rng(1)
    summary, members, strangers = (random_rows(generator, 80) for _ in range(3))
    for similarity in SIMILARITIES:
        found = membership_test(summary, members, strangers, similarity, seed=0)
        assert found.low <= 0.5 <= found.high
        assert found.low < found.auc < found.high


def test_the_same_seed_gives_the_same_interval():
    generator = np.random.default_rng(2)
    rows = [random_rows(generator, 20) for _ in range(3)]
    assert membership_test(*rows, "Jaccard", seed=5) == membership_test(*rows, "Jaccard", seed=5)
    assert membership_test(*rows, "Jaccard", seed=5) != membership_test(*rows, "Jaccard", seed=6)


def test_there_must_be_users_on_both_sides():
    empty = csr_array((0, 5), dtype=np.float32)
    with pytest.raises(ValueError, match="both sides"):
        membership_test(SYNTHETIC, REAL, empty, "Jaccard", seed=0)
