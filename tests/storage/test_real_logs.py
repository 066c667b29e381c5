"""Real logs go in whole; skipped where they are not at hand."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from perennial.storage.log.ingest import ingest_log, ingest_period
from perennial.storage.log.matrices import count_known_items, read_events, read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids


def cut_into_17(times):
    return np.unique(times[np.arange(1, 17) * len(times) // 17])


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("ml-100k.parquet", (100_000, 943, 1_682)), ("ml-1m.parquet", (1_000_209, 6_040, 3_706))],
)
def test_movielens_in_17_periods(shared_data, store, name, sizes):
    path = shared_data / name
    report = ingest_log(store, [path], cut_into_17)
    periods = list_periods(store)
    assert len(periods) == 17
    assert (report.lines, report.interactions) == (sizes[0], sizes[0])
    assert sum(period.interactions for period in periods) == sizes[0]
    assert sum(period.new_users for period in periods) == sizes[1]
    assert sum(period.new_items for period in periods) == count_known_items(store, 17) == sizes[2]
    assert all(a.last_time < b.first_time for a, b in pairwise(periods))
    table = pq.read_table(path)
    rows = zip(*(table[c].to_pylist() for c in ("user_id", "item_id", "timestamp")), strict=True)
    events = read_events(store, 1, 17)
    users, items = user_ids(store, events.users), item_ids(store, events.items)
    assert {*zip(users, items, (events.times // 10**6).tolist(), strict=True)} == {*rows}
    whole = read_rows(store, 1, 17, num_items=sizes[2])
    assert whole.interactions.shape == (sizes[1], sizes[2])
    assert whole.interactions.nnz == sizes[0]
    first_places = np.unique(events.items, return_index=True)[1]
    assert (np.diff(first_places) > 0).all()


@pytest.mark.slow
def test_diginetica_one_file_per_period(shared_data, store):
    for number in range(17):
        path = shared_data / "diginetica" / f"period_{number}.txt"
        lines = path.read_text().split()
        report = ingest_period(store, path)
        assert report.periods == (number + 1,)
        assert report.interactions == report.lines == len(lines) // 2
        events = read_events(store, number + 1, number + 1)
        assert user_ids(store, events.users) == list(map(int, lines[0::2]))
        assert item_ids(store, events.items) == list(map(int, lines[1::2]))
        assert events.times.tolist() == list(range(1, report.lines + 1))
    periods = list_periods(store)
    assert sum(period.interactions for period in periods) == 993_483
    assert sum(period.new_users for period in periods) == 204_789
    assert sum(period.new_items for period in periods) == 43_136
