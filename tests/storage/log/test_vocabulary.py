"""Dense indices are append-only, and identifiers come back as they went in."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.log.vocabulary import (
    ITEMS,
    USERS,
    describe_other_kind,
    extend,
    id_column,
    identifier_type,
    item_ids,
    lookup_items,
    lookup_users,
    read_kind,
    user_ids,
)
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.identifiers import DIGITS, INTEGERS, STRINGS, TEXT
from perennial.storage.store import Store


def add(store, ids, kind=STRINGS, period=1):
    periods = np.full(len(ids), period, np.int32)
    with store.transaction():
        return extend(store, USERS, pa.array(ids, pa.string()), periods, kind)[0].tolist()


def test_known_identifiers_keep_their_index(store):
    assert add(store, ["b", "a"]) == [0, 1]
    assert add(store, ["c", "a", "d"], period=2) == [2, 1, 3]
    assert user_ids(store, [3, 0, 0, 2]) == ["d", "b", "b", "c"]
    assert lookup_users(store, ["a", "nobody", "d", "a"]).tolist() == [1, -1, 3, 1]
    first_periods = store.rows("SELECT first_period FROM users ORDER BY user_index")
    assert first_periods == [(1,), (1,), (2,), (2,)]
    assert lookup_items(store, ["a"]).tolist() == [-1]


def test_integers_come_back_as_integers(store):
    with store.transaction():
        ids = pa.array(["7", "-3", "12345678901234567890"])
        extend(store, ITEMS, ids, np.ones(3, np.int32), INTEGERS)
    assert item_ids(store, np.array([1, 0, 2])) == [-3, 7, 12345678901234567890]
    assert lookup_items(store, [7, "7", "07", -3, 8]).tolist() == [0, 0, -1, 1, -1]
    assert lookup_items(store, []).dtype == np.int32
    assert item_ids(store, []) == []


@pytest.mark.parametrize("index", [-1, 2, 10**9])
def test_an_index_without_identifier_is_an_error(store, index):
    add(store, ["a", "b"])
    with pytest.raises(IndexError, match="none of the users"):
        user_ids(store, [0, index])


IDENTIFIERS = st.text().map(canonical).filter(bool)


@given(st.lists(st.lists(IDENTIFIERS, unique=True, max_size=8), max_size=4))
@settings(max_examples=25)
def test_any_text_comes_back_in_order_of_first_appearance(batches):
    with Store.open(":memory:") as store:
        expected: list[str] = []
        for batch in batches:
            indices = add(store, batch)
            expected += [text for text in batch if text not in expected]
            assert indices == [expected.index(text) for text in batch]
        assert user_ids(store, range(len(expected))) == expected
        assert lookup_users(store, expected).tolist() == list(range(len(expected)))


def test_integers_stay_integers_when_strings_come(store):
    add(store, ["1", "2"], DIGITS)
    assert identifier_type(store, USERS) == pa.int64()
    assert describe_other_kind(store, USERS, DIGITS) is None
    assert "are not all whole numbers" in describe_other_kind(store, USERS, TEXT)
    add(store, ["B07", "1", "007", str(2**70)], TEXT)
    assert user_ids(store, range(5)) == [1, 2, "B07", "007", 2**70]
    assert lookup_users(store, [1, "1.0", "007", "7", 2**70]).tolist() == [0, 0, 3, -1, 4]
    assert read_kind(store, USERS) == DIGITS
    assert describe_other_kind(store, USERS, STRINGS) is None, "a remark is made once"
    column = id_column(store, USERS, [0, 3])
    assert (column.type, column.to_pylist()) == (pa.string(), ["1", "007"])
    assert read_kind(store, ITEMS) is None


def test_strings_stay_strings_when_digits_come(store):
    add(store, ["a"], TEXT)
    assert "they are kept as text" in describe_other_kind(store, USERS, DIGITS)
    add(store, ["1"], DIGITS)
    assert user_ids(store, [0, 1]) == ["a", "1"]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["0", "-5", str(2**63 - 1), str(-(2**63))], pa.int64()),
        (["0", str(2**63)], pa.string()),
        (["0", "7.5"], pa.string()),
        (["0", "007"], pa.string()),
    ],
)
def test_columns_are_integers_if_all_identifiers_are(store, ids, kind):
    add(store, ids, DIGITS)
    column = id_column(store, USERS, range(len(ids)))
    assert (column.type, column.cast(pa.string()).to_pylist()) == (kind, ids)
