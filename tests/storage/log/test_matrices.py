"""Rows and events that are read equal the ingested ones, for any range and any users."""

import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.matrices import (
    count_known_items,
    read_events,
    read_item_counts,
    read_rows,
)
from perennial.storage.store import Store

# Per period: (user, item), in the order of their lines.
LOG = [
    [("a", "x"), ("b", "y"), ("a", "x"), ("a", "z")],
    [("b", "w"), ("c", "x"), ("b", "y")],
    [("a", "v"), ("d", "v")],
]


@pytest.fixture
def log(store, write):
    for number, events in enumerate(LOG):
        lines = "".join(f"{user} {item}\n" for user, item in events)
        ingest_period(store, write(f"period_{number}.txt", lines))
    return store


def test_rows_of_given_users_in_their_order(log):
    users = np.array([3, 0, 7, 0], np.int32)
    rows = read_rows(log, 1, 3, num_items=5, users=users)
    assert rows.users.tolist() == [3, 0, 7, 0]
    repeated = [1, 0, 1, 0, 1]
    expected = [[0, 0, 0, 0, 1], repeated, [0, 0, 0, 0, 0], repeated]
    assert rows.interactions.toarray().tolist() == expected
    assert rows.last_period.tolist() == [3, 3, 0, 3]


def test_no_users_and_no_periods(log):
    none = read_rows(log, 1, 3, num_items=5, users=np.zeros(0, np.int32))
    assert none.interactions.shape == (0, 5)
    later = read_rows(log, 7, 9, num_items=5)
    assert (later.interactions.shape, later.users.dtype) == ((0, 5), np.int32)
    assert len(read_events(log, 7, 9).times) == 0
    with Store.open(":memory:") as empty:
        assert read_rows(empty, 1, 1, num_items=0).interactions.shape == (0, 0)
        assert count_known_items(empty, 3) == 0


def test_rows_must_be_wide_enough(log):
    assert read_rows(log, 1, 1, num_items=9).interactions.shape == (2, 9)
    with pytest.raises(ValueError, match=r"1\.\.2 hold item 3"):
        read_rows(log, 1, 2, num_items=3)


def test_counts_of_known_items(log):
    assert [count_known_items(log, period) for period in (0, 1, 2, 3, 9)] == [0, 3, 4, 5, 5]
    assert read_item_counts(log, 1, 3).tolist() == [2, 1, 1]
    assert read_item_counts(log, 3, 6).tolist() == [3, 2, 1, 1, 2, 0]
    assert read_item_counts(log, 3, 2).tolist() == [3, 2]


def test_events_out_of_place_are_put_in_order(log, monkeypatch):
    expected = read_events(log, 1, 3)
    table = log.table("SELECT user_index, item_index, time, rowid FROM interactions")
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    monkeypatch.setattr(Store, "table", lambda *_args, **_inputs: shuffled)
    for found, values in zip(
        vars(read_events(log, 1, 3)).values(), vars(expected).values(), strict=True
    ):
        np.testing.assert_array_equal(found, values)


EVENTS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
)


@given(EVENTS, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=25)
def test_rows_equal_a_loop_over_events(tmp_path_factory, periods, first, last):
    folder = tmp_path_factory.mktemp("log")
    with Store.open(":memory:") as store:
        for number, events in enumerate(periods):
            # Blank lines make each file's content its own.
            path = folder / f"period_{number}.txt"
            path.write_text("".join(f"{u} {i}\n" for u, i in events) + "\n" * number)
            ingest_period(store, path)
        num_items = count_known_items(store, len(periods))
        events_read = read_events(store, first, last)
        dense: dict[int, set[int]] = {}
        last_period: dict[int, int] = {}
        columns = (events_read.users, events_read.items, events_read.periods)
        for user, item, period in zip(*(column.tolist() for column in columns), strict=True):
            dense.setdefault(user, set()).add(item)
            last_period[user] = max(last_period.get(user, 0), period)
        assert len(events_read.users) == sum(len(p) for p in periods[first - 1 : last])
        rows = read_rows(store, first, last, num_items=num_items)
        assert rows.users.tolist() == sorted(dense)
        assert rows.last_period.tolist() == [last_period[user] for user in sorted(dense)]
        for row, user in enumerate(sorted(dense)):
            assert rows.interactions[[row], :].indices.tolist() == sorted(dense[user])
    assert [column.dtype for column in vars(events_read).values()] == [
        *(np.int32, np.int32, np.int64, np.int32)
    ]
    assert rows.interactions.dtype == np.float32
    assert rows.interactions.indices.dtype == rows.interactions.indptr.dtype == np.int32
    assert rows.users.dtype == rows.last_period.dtype == np.int32
    assert rows.interactions.has_canonical_format


PERIOD_ROWS = 150_000
ROW_GROUP = 122_880
"""Rows that DuckDB keeps, and skips, together."""


def write_period(path, number):
    """A file of a period, the same whatever was before it."""
    rng = np.random.default_rng(number)
    table = {
        "user_id": rng.integers(4000, size=PERIOD_ROWS),
        "item_id": rng.integers(500, size=PERIOD_ROWS),
        "timestamp": 1_600_000_000 + number * 10**6 + np.arange(PERIOD_ROWS),
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of five periods, and one of their third alone."""
    folder = tmp_path_factory.mktemp("periods")
    files = [write_period(folder / f"{number}.parquet", number) for number in range(1, 6)]
    with Store.open(folder / "all.duckdb") as store:
        for file in files:
            ingest_period(store, file)
    with Store.open(folder / "alone.duckdb") as store:
        ingest_period(store, files[2])
    return folder / "all.duckdb", folder / "alone.duckdb"


class TestOnePeriod:
    """Reading a period takes what the period takes, however much lies around it."""

    @pytest.mark.parametrize("users", [None, np.arange(100, dtype=np.int32)])
    def test_only_row_groups_of_the_period_are_read(self, stores, users, tmp_path):
        told = tmp_path / "profile.json"
        with Store.open(stores[0], read_only=True) as store:
            store.connection.execute("PRAGMA enable_profiling = 'json'")
            store.connection.execute(f"PRAGMA profiling_output = '{told}'")
            rows = read_rows(store, 3, 3, num_items=500, users=users)
        assert rows.interactions.nnz > 0
        query = json.loads(told.read_text())["query"]
        assert "interactions" in query["sql"]
        scanned = query["total_rows_scanned"] - (0 if users is None else len(users))
        # It begins in one row group and ends in another.
        assert scanned < PERIOD_ROWS + 2 * ROW_GROUP < 5 * PERIOD_ROWS

    def test_memory_does_not_grow_with_the_store(self, stores):
        peaks = []
        for path, period in zip(stores, (3, 1), strict=True):
            with Store.open(path, read_only=True) as store:
                read_rows(store, period, period, num_items=500)
                tracemalloc.start()
                try:
                    rows = read_rows(store, period, period, num_items=500)
                    peaks.append(tracemalloc.get_traced_memory()[1])
                finally:
                    tracemalloc.stop()
            assert rows.interactions.shape == (4000, 500)
        # Several arrays of the period's rows, and none of the log's 750,000.
        assert 8 * PERIOD_ROWS < peaks[1] < 100 * PERIOD_ROWS
        assert abs(peaks[0] - peaks[1]) < 0.02 * peaks[1]
