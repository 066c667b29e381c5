"""What is known at the end of a period."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.vocabulary import item_ids, user_ids
from stream.history import History


def last_items(store, period):
    """Last item by user, in the log's own identifiers."""
    history = History(store, period)
    items, users = history.last_items(), history.rows(first=period).users
    assert items.dtype == np.int32
    assert items.shape == users.shape
    return {
        int(user): int(item)
        for user, item in zip(user_ids(store, users), item_ids(store, items), strict=True)
    }


# User, item, period, second; in the file the events stand in another order than in time.
INTERLEAVED = [
    (7, 10, 1, 0),
    (3, 11, 1, 10),
    (7, 12, 1, 20),
    (5, 10, 1, 30),
    (3, 10, 1, 40),
    (7, 10, 1, 50),  # an item for the second time
    (5, 13, 2, 0),
    (3, 14, 2, 50),
    (5, 11, 2, 70),
    (3, 15, 2, 20),
    (9, 10, 2, 60),
]


def test_the_last_item_of_each_user_of_the_period(store_of):
    with store_of(INTERLEAVED) as store:
        assert last_items(store, 1) == {7: 10, 3: 10, 5: 10}
        assert last_items(store, 2) == {5: 11, 3: 14, 9: 10}


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
