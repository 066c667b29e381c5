"""Which users are held out: by seed, about so many, and the same ones for ever."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.stream.history import HeldOutUsers


def users_to(count):
    return np.arange(count, dtype=np.int32)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_about_so_many_are_held_out(share):
    found = HeldOutUsers(share, seed=3).mask(users_to(20_000))
    assert found.dtype == np.bool_
    spread = math.sqrt(20_000 * share * (1 - share))
    assert abs(int(found.sum()) - 20_000 * share) < 4 * spread


def test_neighbours_are_drawn_apart():
    found = HeldOutUsers(0.5).mask(users_to(20_000))
    both = int((found[1:] & found[:-1]).sum())
    assert abs(both - 5_000) < 4 * math.sqrt(20_000 * 0.25 * 0.75)


def test_another_seed_holds_out_others():
    one, other = (HeldOutUsers(0.1, seed).mask(users_to(5000)) for seed in (0, 1))
    assert 0 < int((one & other).sum()) < 100
    np.testing.assert_array_equal(one, HeldOutUsers(0.1, 0).mask(users_to(5000)))


def test_a_larger_share_holds_out_those_of_a_smaller_one():
    smaller, larger = (HeldOutUsers(share).mask(users_to(5000)) for share in (0.1, 0.3))
    assert not (smaller & ~larger).any()


@given(
    indices=st.lists(st.integers(0, 2**31 - 1), max_size=50),
    places=st.lists(st.integers(0, 49), max_size=20),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_whom_it_concerns_depends_on_no_one_else(indices, places, share, seed):
    held_out, users = HeldOutUsers(share, seed), np.array(indices, dtype=np.int32)
    chosen = np.array([place for place in places if place < len(users)], dtype=np.intp)
    np.testing.assert_array_equal(held_out.mask(users[chosen]), held_out.mask(users)[chosen])


def test_users_that_come_later_change_nothing():
    held_out = HeldOutUsers(0.2, seed=9)
    np.testing.assert_array_equal(held_out.mask(users_to(100)), held_out.mask(users_to(1000))[:100])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_there_must_be_someone_on_both_sides(share):
    with pytest.raises(UserError, match="not between 0 and 1"):
        HeldOutUsers(share)
