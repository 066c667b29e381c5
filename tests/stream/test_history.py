"""The log up to the end of a period, and held-out users."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.stream.history import HeldOutUsers, History


def last_items(store, period):
    """Last item by user, in the log's own identifiers."""
    history = History(store, period)
    items, users = history.last_items(), history.rows(first=period).users
    assert (items.dtype, items.shape) == (np.int32, users.shape)
    pairs = zip(user_ids(store, users), item_ids(store, items), strict=True)
    return {int(user): int(item) for user, item in pairs}


# User, item, period, second; in the file the events stand in another order than in time.
INTERLEAVED = [
    *((7, 10, 1, 0), (3, 11, 1, 10), (7, 12, 1, 20), (5, 10, 1, 30), (3, 10, 1, 40)),
    (7, 10, 1, 50),  # an item for the second time
    *((5, 13, 2, 0), (3, 14, 2, 50), (5, 11, 2, 70), (3, 15, 2, 20), (9, 10, 2, 60)),
]


@settings(max_examples=20)
@given(
    periods=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=20),
        min_size=1,
        max_size=3,
    )
)
def test_the_last_item_is_the_last_in_time(store_of, periods):
    log = [
        (user, item, number, second)
        for number, events in enumerate(periods, 1)
        for second, (user, item) in enumerate(events)
    ]
    with store_of(log[::-1]) as store:
        for number, events in enumerate(periods, 1):
            assert last_items(store, number) == dict(events)


def test_nothing_later_can_be_read(store_of):
    with store_of(INTERLEAVED) as store:
        assert History(store, 1).num_items == 3
        with pytest.raises(ValueError, match="period 2 is not known at the end of period 1"):
            History(store, 1).rows(first=1, last=2)


def held_out_ids(store, held_out, count):
    """The users of a store who are held out, in the log's own identifiers."""
    users = np.arange(count, dtype=np.int32)
    return {int(user) for user in user_ids(store, users[held_out.mask(users)])}


@settings(max_examples=20)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 2), st.integers(0, 9)),
        min_size=1,
        max_size=40,
    ),
    seed=st.integers(0, 50),
)
def test_held_out_users_are_not_seen(store_of, rows, seed):
    rows = [(1, 10, 1, 0), (2, 11, 2, 0), *rows]
    held_out = HeldOutUsers(0.5, seed)
    with store_of(rows) as store:
        whole, without = History(store, 2), History(store, 2, held_out)
        hidden = held_out_ids(store, held_out, len({row[0] for row in rows}))
        for first in (1, 2):
            everyone, seen = whole.rows(first), without.rows(first)
            assert {int(user) for user in user_ids(store, seen.users)} == {
                row[0] for row in rows if row[2] >= first
            } - hidden
            places = np.searchsorted(everyone.users, seen.users)
            np.testing.assert_array_equal(
                seen.interactions.toarray(), everyone.interactions.toarray()[places]
            )
            np.testing.assert_array_equal(seen.last_period, everyone.last_period[places])
        assert without.num_items == whole.num_items, "their items are known all the same"
        remaining = np.isin(whole.rows(2).users, without.rows(2).users)
        np.testing.assert_array_equal(without.last_items(), whole.last_items()[remaining])


def test_held_out_users_change_the_fingerprint(store_of):
    with store_of(INTERLEAVED) as store:
        found = [
            History(store, 2, held_out).fingerprint
            for held_out in (None, HeldOutUsers(), HeldOutUsers(0.2), HeldOutUsers(0.1, 1))
        ]
        assert len(set(found)) == 4
        assert found[1] == History(store, 2, HeldOutUsers(0.1, 0)).fingerprint
        assert found[1] != History(store, 1, HeldOutUsers()).fingerprint


def users_to(count):
    return np.arange(count, dtype=np.int32)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_held_out_users(share):
    found = HeldOutUsers(share, seed=3).mask(users_to(20_000))
    assert found.dtype == np.bool_
    spread = math.sqrt(20_000 * share * (1 - share))
    assert abs(int(found.sum()) - 20_000 * share) < 4 * spread


def test_neighbouring_users_and_seeds_are_drawn_independently():
    found = HeldOutUsers(0.5).mask(users_to(20_000))
    both = int((found[1:] & found[:-1]).sum())
    assert abs(both - 5_000) < 4 * math.sqrt(20_000 * 0.25 * 0.75)
    one, other = (HeldOutUsers(0.1, seed).mask(users_to(5000)) for seed in (0, 1))
    assert 0 < int((one & other).sum()) < 100


def test_a_larger_share_holds_out_those_of_a_smaller_one():
    smaller, larger = (HeldOutUsers(share).mask(users_to(5000)) for share in (0.1, 0.3))
    assert not (smaller & ~larger).any()
    np.testing.assert_array_equal(smaller, HeldOutUsers(0.1).mask(users_to(5000)))


@given(
    indices=st.lists(st.integers(0, 2**31 - 1), max_size=50),
    places=st.lists(st.integers(0, 49), max_size=20),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_each_user_is_drawn_independently_of_the_others(indices, places, share, seed):
    held_out, users = HeldOutUsers(share, seed), np.array(indices, dtype=np.int32)
    chosen = np.array([place for place in places if place < len(users)], dtype=np.intp)
    np.testing.assert_array_equal(held_out.mask(users[chosen]), held_out.mask(users)[chosen])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_there_must_be_someone_on_both_sides(share):
    with pytest.raises(UserError, match="not between 0 and 1"):
        HeldOutUsers(share)
