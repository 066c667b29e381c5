"""The ledger says what a period holds, and fingerprints see all of it and nothing later."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.log.ingest import ingest_log, ingest_period
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import PeriodSummary, fingerprint, list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store

HEADER = "user_id,item_id,timestamp\n"
DAY = 86_400


def ingest(rows, write, boundaries, seed=0):
    """Fingerprints after each period of a log cut at some seconds."""
    with Store.open(":memory:") as store:
        cut = np.array(boundaries) * 1_000_000
        path = write("log.csv", HEADER + rows)
        report = ingest_log(store, [path], lambda _times: cut, IngestSettings(tie_seed=seed))
        return [fingerprint(store, period) for period in report.periods]


def test_summaries(store, write):
    ingest_period(store, write("one.csv", HEADER + "u,a,100\nv,b,90\nu,b,110\nu,b,120\n"))
    ingest_period(store, write("period_2.txt", "u c\nw c\n"))
    hashes = [one.content_hash for one in list_periods(store)]
    times = (90_000_000, 120_000_000)
    assert list_periods(store) == (
        PeriodSummary(1, "one.csv", *times, True, 4, 2, 2, 2, 2, hashes[0], 4),
        PeriodSummary(2, "period_2.txt", 1, 2, False, 2, 2, 1, 1, 1, hashes[1], 2),
    )
    assert len({*hashes, fingerprint(store, 2)}) == 3


def test_nothing_later_shows_in_a_fingerprint(write):
    base = ingest("u,a,1\nv,b,2\nu,c,11\nv,d,12\n", write, [10])
    permuted = ingest("v,d,12\nu,c,13\nu,a,1\nv,b,2\n", write, [10])
    longer = ingest("u,a,1\nv,b,2\nx,y,25\n", write, [10, 20])
    assert base[0] == permuted[0] == longer[0]
    assert base[1] != permuted[1]


@pytest.mark.parametrize(
    ("log", "changed"),
    [
        ("u,a,1\nv,b,2\n", "v,b,3\nu,a,1\n"),
        ("u,a,1\nv,b,2\n", "u,a,1\nv,a,2\n"),
        ("u,a,1\nv,b,2\n", "u,a,1\nu,b,2\n"),
        ("u,a,1\nv,b,2\n", "u,a,1\nw,b,2\n"),
        ("u,a,1\nv,b,2\n", "u,a,1\nv,c,2\n"),
        ("u,a,1\nv,b,2\n", "u,a,1\nv,b,2\nv,b,3\n"),
        ("u,a,1\nv,b,2\n", "u,a,2\nv,b,1\n"),
        ('u,"a\x1f",1\nv,b,2\n', 'u,a,1\nv,"\x1fb",2\n'),
    ],
)
def test_everything_before_shows_in_a_fingerprint(write, log, changed):
    assert ingest(log, write, []) != ingest(changed, write, [])


def test_the_cut_and_the_order_of_ties_show(write):
    rows = "".join(f"u{number},a,5\n" for number in range(20)) + "v,b,8\n"
    whole = ingest(rows, write, [])
    assert whole == ingest(rows, write, [])
    assert whole[-1] != ingest(rows, write, [7])[-1]
    assert whole != ingest(rows, write, [], seed=1)


@pytest.mark.slow
def test_the_ledger_agrees_with_the_stored_events(tmp_path):
    rng = np.random.default_rng(0)
    size = 500_000
    log = {
        "user_id": rng.integers(0, 2_000, size),
        "item_id": [f"i{number}" for number in rng.integers(0, 700, size)],
        "timestamp": rng.integers(0, 40_000, size),
    }
    pq.write_table(pa.table(log), tmp_path / "log.parquet", row_group_size=60_000)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        ingest_log(store, [tmp_path / "log.parquet"], lambda _: np.arange(1, 5) * 8 * 10**9)
    with Store.open(path, read_only=True) as store:
        num_users = num_items = 0
        for period in list_periods(store):
            events = read_events(store, period.period, period.period)
            new_users = range(num_users, num_users := num_users + period.new_users)
            new_items = range(num_items, num_items := num_items + period.new_items)
            digest = hashlib.sha256()
            for values in (events.users, events.items, events.times):
                digest.update(values.data)
            new_ids = [list(map(str, user_ids(store, new_users))), item_ids(store, new_items)]
            digest.update(json.dumps(new_ids).encode())
            assert digest.hexdigest() == period.content_hash
            assert len(events.users) == period.interactions
            assert len(set(events.users.tolist())) == period.users
            assert len(set(events.items.tolist())) == period.items
            assert (events.times[0], events.times[-1]) == (period.first_time, period.last_time)
        assert (num_users, num_items) == (2_000, 700)
