"""Files become periods: whole or not at all, once, in one order, with every bad line named."""

import itertools
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_log, ingest_period
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.layout import FileLayout
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store

HEADER = "user_id,item_id,timestamp\n"


def cut_at(*seconds):
    return lambda _times: np.array(seconds, np.int64) * 1_000_000


def dump(store):
    tables = store.rows("SELECT table_name FROM duckdb_tables() ORDER BY table_name")
    return {name: store.rows(f"SELECT rowid, * FROM {name} ORDER BY rowid") for (name,) in tables}


def events_of(store):
    """(period, user, item, time) in log order."""
    events = read_events(store, 1, 10**6)
    users, items = user_ids(store, events.users), item_ids(store, events.items)
    return [*zip(events.periods.tolist(), users, items, events.times.tolist(), strict=True)]


def write_parquet(path, users, items, times):
    table = {"user_id": users, "item_id": items, "timestamp": times}
    pq.write_table(pa.table(table), path)
    return path


def test_a_file_becomes_the_next_period(store, write):
    one = write("one.csv", HEADER + "u,a,30\nv,b,10\nu,b,20\n")
    report = ingest_period(store, one)
    layout = FileLayout("text", "user_id", "item_id", "timestamp", True, True, ",", "UTF-8", 3)
    assert report.remarks[0].startswith("the times (30, ...) are taken as seconds since 1970")
    assert report == IngestReport((one,), False, 3, 3, 0, 0, {}, (1,), (layout,), report.remarks)
    two = write("two.csv", HEADER + "w,a,35\nu,c,40\n")
    assert ingest_period(store, str(two)).periods == (2,)
    seconds = [(period, user, item, time // 10**6) for period, user, item, time in events_of(store)]
    assert seconds == [
        *((1, "v", "b", 10), (1, "u", "b", 20), (1, "u", "a", 30)),
        *((2, "w", "a", 35), (2, "u", "c", 40)),
    ]
    events = read_events(store, 1, 2)
    assert events.users.tolist() == [0, 1, 1, 2, 1]
    assert events.items.tolist() == [0, 0, 1, 1, 2]


def test_a_log_is_cut_at_times(store, write):
    path = write("log.csv", HEADER + "u,a,30\nv,b,10\nu,b,20\nw,c,20\nx,a,19\n")
    assert ingest_log(store, [path], cut_at(5, 20, 25, 26, 27, 90)).periods == (1, 2, 3)
    assert [summary.interactions for summary in list_periods(store)] == [2, 2, 1]
    periods = {time: period for period, _, _, time in events_of(store)}
    assert periods == {10_000_000: 1, 19_000_000: 1, 20_000_000: 2, 30_000_000: 3}


def test_cuts_are_made_of_the_times_that_are_kept(store, write):
    seen = []

    def cut(times):
        seen.append(times.tolist())
        return times[2:3]

    path = write("log.csv", HEADER + "u,a,3\nu,a,3\nu,b,1\nv,b,2\n,b,0\n")
    ingest_log(store, [path], cut, IngestSettings(max_reject_share=0.5))
    assert seen == [[1_000_000, 2_000_000, 3_000_000]]


def test_several_files_are_one_log(store, write, tmp_path):
    files = [
        write("a.csv", HEADER + "u,a,10\nu,b,30\n"),
        write("b.csv", "ts,userId,itemId,note\n20,v,a,x\n30,u,b,y\n"),
        write_parquet(tmp_path / "c.parquet", ["w"], ["a"], [25]),
    ]
    report = ingest_log(store, files, cut_at(20))
    assert (report.lines, report.interactions, report.merged) == (5, 4, 1)
    expected = [(1, "u", "a"), (2, "v", "a"), (2, "w", "a"), (2, "u", "b")]
    assert [event[:3] for event in events_of(store)] == expected
    assert list_periods(store)[1].source == "a.csv and 2 more"
    names = store.rows("SELECT name FROM ingested_files ORDER BY ordinal")
    assert names == [("a.csv",), ("b.csv",), ("c.parquet",)]


def test_lines_are_times_where_there_are_none(store, write):
    files = [write("p_0.txt", "8 5\n9\n8 5\n\n7 5\n"), write("p_1.txt", "9 6\n")]
    settings_ = IngestSettings(max_reject_share=0.5)
    report = ingest_log(store, files, lambda times: times[[2]], settings_)
    assert (report.interactions, report.merged, report.rejected) == (4, 0, 1)
    assert events_of(store) == [(1, 8, 5, 1), (1, 8, 5, 3), (2, 7, 5, 5), (2, 9, 6, 6)]
    assert not list_periods(store)[0].has_clock


def test_equal_rows_are_merged_and_counted(store, write):
    rows = "u,a,10\n" * 3 + "u,a,11\nu,b,10\nv,a,10\nv,a,10\n"
    report = ingest_period(store, write("log.csv", HEADER + rows))
    assert (report.lines, report.interactions, report.merged) == (7, 4, 3)
    again = ingest_period(store, write("next.csv", HEADER + "u,a,11\n"))
    assert (again.interactions, again.merged) == (1, 0)


BAD_LINES = [
    (b"u,a", "wrong number of columns"), (b"u,a,1,2", "wrong number of columns"),
    (b'u,"a,1', "misplaced or unclosed quote"), (b"u\xff,a,1", "invalid UTF-8"),
    (b",a,1", "null or empty user"), (b"  ,a,1", "null or empty user"),
    (b"NULL,a,1", "null or empty user"), (b"NaN,a,1", "user is NaN"),
    (b"u,,1", "null or empty item"), (b"u,nan,1", "item is NaN"), (b"u,a,", "null or empty time"),
    (b"u,a,soon", "unparsable time"), (b"u,a,2020-13-01", "unparsable time"),
    (b"u,a,nan", "time is NaN"), (b"u,a,-5", "time out of range"),
    (b"u,a,2e11", "time out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_bad_lines_are_rejected_with_line_and_reason(store, write, bad, reason):
    good = b"u,a,10\nv,b,20\n"
    path = write("log.csv", HEADER.encode() + good + bad + b"\n\n" + bad + b"\nw,c,30\n")
    report = ingest_period(store, path, IngestSettings(max_reject_share=0.4))
    assert (report.lines, report.interactions, report.rejected) == (5, 3, 2)
    assert report.reject_reasons == {reason: 2}
    assert store.rows("SELECT * FROM rejects ORDER BY line") == [
        (1, "log.csv", 4, reason),
        (1, "log.csv", 6, reason),
    ]
    assert [event[1:3] for event in events_of(store)] == [("u", "a"), ("v", "b"), ("w", "c")]
    assert store.rows("SELECT count(*) FROM users") == [(3,)]


def test_bad_rows_of_parquet_are_numbered(store, tmp_path):
    users = [1.0, None, float("nan"), 2.5, 5.0, 6.0, 7.0]
    items, times = ["a", "b", "c", "d", None, " ", "g"], [1, 2, 3, 4, 5, 6, None]
    path = write_parquet(tmp_path / "log.parquet", users, items, times)
    ingest_period(store, path, IngestSettings(max_reject_share=0.9))
    assert store.rows("SELECT line, reason FROM rejects ORDER BY line") == [
        (2, "null or empty user"),
        (3, "user is NaN"),
        (4, "user is not a whole number"),
        (5, "null or empty item"),
        (6, "null or empty item"),
        (7, "null or empty time"),
    ]
    assert events_of(store) == [(1, 1, "a", 1_000_000)]


def test_rejects_name_their_file(store, write):
    files = [write("a.csv", HEADER + "u,a,1\nu,b\n"), write("b.csv", HEADER + "u,,1\nv,a,2\n")]
    report = ingest_log(store, files, cut_at(), IngestSettings(max_reject_share=0.5))
    assert store.rows("SELECT file, line, reason FROM rejects ORDER BY file") == [
        ("a.csv", 3, "wrong number of columns"),
        ("b.csv", 2, "null or empty item"),
    ]
    assert report.reject_reasons == {"wrong number of columns": 1, "null or empty item": 1}


@pytest.mark.parametrize(
    ("num_bad", "share", "taken"),
    [(1, 0.05, True), (2, 0.05, False), (1, 0.0, False), (0, 0.0, True), (19, 1.0, True)],
)
def test_too_many_bad_lines_refuse_the_file(store, write, num_bad, share, taken):
    rows = [f"u{number},a,{number}\n" for number in range(20 - num_bad)] + [",a,1\n"] * num_bad
    path = write("log.csv", HEADER + "".join(rows))
    before = dump(store)
    if taken:
        report = ingest_period(store, path, IngestSettings(max_reject_share=share))
        assert report.rejected == num_bad
        return
    words = rf"log\.csv: {num_bad} of 20 lines are bad \({num_bad} × null or empty user; "
    with pytest.raises(UserError, match=words) as caught:
        ingest_period(store, path, IngestSettings(max_reject_share=share))
    assert f"the first is line {22 - num_bad}" in str(caught.value)
    assert dump(store) == before


def test_one_bad_file_refuses_the_log(store, write):
    files = [
        write("good.csv", HEADER + "".join(f"u,i{number},{number}\n" for number in range(100))),
        write("bad.csv", HEADER + "u,a,1\n,a,1\n"),
    ]
    before = dump(store)
    with pytest.raises(UserError, match=r"bad\.csv: 1 of 2 lines are bad"):
        ingest_log(store, files, cut_at(50))
    assert dump(store) == before


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_are_shares(store, write, share):
    with pytest.raises(UserError, match=r"is not in 0\.\.1"):
        ingest_period(store, write("a.csv", "1 2"), IngestSettings(max_reject_share=share))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([], "no file"),
        ([HEADER], r"0\.csv: no interactions"),
        ([HEADER + "\n\n"], r"0\.csv: no interactions"),
        ([""], r"0\.csv: no interactions"),
        ([HEADER + "u,a,10\n"] * 2, r"1\.csv: the same content as .*0\.csv"),
        ([HEADER + "u,a,10\n", "user_id,item_id\nu,a\n"], r"1\.csv: no times in it"),
    ],
)
def test_logs_that_are_refused(store, write, contents, words):
    files = [write(f"{number}.csv", content) for number, content in enumerate(contents)]
    with pytest.raises(UserError, match=words):
        ingest_log(store, files, cut_at())


def test_the_same_content_again_changes_nothing(store, write):
    content = HEADER + "u,a,10\nu,a,10\nv,b,20\n,b,20\n"
    loose = IngestSettings(max_reject_share=0.5)
    first = ingest_period(store, write("log.csv", content), loose)
    ingest_period(store, write("other.csv", HEADER + "w,b,25\n"))
    before = dump(store)
    copy = write("copy.csv", content)
    again = ingest_period(store, copy, IngestSettings(max_reject_share=0.25))
    assert again == IngestReport(
        (copy,), True, 4, 2, 1, 1, {"null or empty user": 1}, first.periods
    )
    assert dump(store) == before


@pytest.mark.parametrize(
    "again",
    [
        lambda store, files: ingest_log(store, files, cut_at(16)),
        lambda store, files: ingest_log(store, files[:1], cut_at(15)),
        lambda store, files: ingest_log(store, files[::-1], cut_at(15)),
        lambda store, files: ingest_period(store, files[1]),
        lambda store, files: ingest_log(store, files, cut_at(15), IngestSettings(tie_seed=1)),
        lambda store, files: ingest_log(
            store, files, cut_at(15), IngestSettings(user_column="item_id", item_column="user_id")
        ),
    ],
)
def test_the_same_log_again_changes_nothing_and_read_otherwise_is_refused(store, write, again):
    files = [write("a.csv", HEADER + "u,a,10\nv,b,20\n"), write("b.csv", HEADER + "w,a,15\n")]
    first = ingest_log(store, files, cut_at(15))
    before = dump(store)
    with pytest.raises(UserError, match=r"is in the store already \(periods 1 to 2\)"):
        again(store, files)
    assert dump(store) == before
    same = ingest_log(store, files, lambda times: times[[1]])
    assert same.already_ingested
    assert same.periods == first.periods == (1, 2)
    assert dump(store) == before


def test_wrong_column_types_name_the_file(store, tmp_path):
    path = write_parquet(tmp_path / "log.parquet", [True], [1], [1])
    with pytest.raises(UserError, match=r"log\.parquet: column 'user_id': type bool cannot hold"):
        ingest_period(store, path)
    write_parquet(path, [1], [1], [[1]])
    with pytest.raises(UserError, match=r"parquet: column 'timestamp': type list.* cannot hold"):
        ingest_period(store, path)


def test_integers_by_type_do_not_meet_strings(store, write, tmp_path):
    ingest_period(store, write_parquet(tmp_path / "log.parquet", [1], [1], [1]))
    before = dump(store)
    words = "the file's items are strings, and those before them are integers"
    with pytest.raises(UserError, match=words):
        ingest_period(store, write("log.csv", HEADER + "1,x,1\n"))
    assert dump(store) == before
    ingest_period(store, write("digits.csv", HEADER + "1,2,1\n"))
    assert user_ids(store, [0]) == [1]


def test_files_of_one_log_must_agree_on_integers(store, tmp_path, write):
    path = write_parquet(tmp_path / "log.parquet", [1], [1], [1])
    text = write("log.csv", HEADER + "x,1,1\n")
    with pytest.raises(UserError, match=r"log\.csv: its users are strings, and those before them"):
        ingest_log(store, [path, text], cut_at())
    empty = write("empty.csv", HEADER + ",5,5\n")
    taken = IngestSettings(max_reject_share=1)
    assert ingest_log(store, [empty, path], cut_at(), taken).interactions == 1
    assert user_ids(store, [0]) == [1]


class StopError(Exception):
    """Raised by a test in the middle of work."""


@pytest.mark.parametrize("after", [False, True])
def test_a_stop_anywhere_leaves_the_store_as_it_was(store, write, monkeypatch, after):
    ingest_period(store, write("first.csv", HEADER + "x,a,1\n"))
    before = dump(store)
    insert = Store.insert
    for step in itertools.count():
        calls = itertools.count()

        def stop(self, name, table, step=step, calls=calls):
            here = next(calls) == step
            if here and not after:
                raise StopError
            insert(self, name, table)
            if here:
                raise StopError

        monkeypatch.setattr(Store, "insert", stop)
        try:
            report = ingest_two_periods(store, write)
            break
        except StopError:
            assert dump(store) == before
    assert step >= 5
    assert report.periods == (2, 3)


def ingest_two_periods(store, write):
    path = write("log.csv", HEADER + "u,a,1\nv,b,20\nv,,20\n")
    return ingest_log(store, [path], cut_at(10), IngestSettings(max_reject_share=0.5))


CRASHING = """
import os, sys
from perennial.storage.log.ingest import ingest_period
from perennial.storage.store import Store

class Crashing(Store):
    def insert(self, name, table):
        super().insert(name, table)
        if name == sys.argv[3]:
            os._exit(9)

store = Crashing.open(sys.argv[1])
ingest_period(store, sys.argv[2])
os._exit(8)
"""


@pytest.mark.slow
@pytest.mark.parametrize("table", ["interactions", "ingested_files", "none"])
def test_a_crash_leaves_nothing_or_everything(tmp_path, write, table):
    # Enough rows for DuckDB to write some of them to the file before the commit.
    size = 300_000
    numbers = np.arange(size)
    write_parquet(tmp_path / "log.parquet", numbers % 999, numbers, 1 + numbers)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        ingest_period(store, write("first.csv", HEADER + "5,5,1\n"))
        before = fingerprint(store, 9)
    command = [sys.executable, "-c", CRASHING, path, tmp_path / "log.parquet", table]
    finished = subprocess.run(command, check=False)  # noqa: S603
    assert finished.returncode == (8 if table == "none" else 9)
    with Store.open(path) as store:
        if table != "none":
            assert store.rows("SELECT count(*) FROM interactions") == [(1,)]
            assert fingerprint(store, 9) == before
        assert ingest_period(store, tmp_path / "log.parquet").already_ingested is (table == "none")
        assert store.rows("SELECT count(*) FROM interactions") == [(size + 1,)]
        assert fingerprint(store, 9) != before


@pytest.mark.slow
def test_cores_and_threads_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    size = 700_000
    log = pa.table(
        {
            "user_id": rng.integers(0, 3_000, size),
            "item_id": [f"i{item}" for item in rng.integers(0, 900, size)],
            "timestamp": rng.integers(10**9, 10**9 + 40_000, size),
        }
    )
    pq.write_table(log, tmp_path / "log.parquet", row_group_size=90_000)
    found = []
    for threads in (1, 2, 7):
        with Store.open(":memory:") as store:
            store.rows(f"SET threads = {threads}")
            ingest_log(store, [tmp_path / "log.parquet"], lambda times: times[:: size // 4])
            events = read_events(store, 1, 9)
            # Order as it lies in the table, without any help of ORDER BY.
            assert (np.diff(events.times) >= 0).all()
            found.append((fingerprint(store, 9), events.users.tolist(), events.items.tolist()))
    assert found[0] == found[1] == found[2]


IDS = {
    "integers": st.integers(-(2**63), 2**63 - 1),
    "strings": st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1)
    .map(canonical)
    .filter(lambda text: text.strip() not in ("", "\\N", "NULL", "null", "NaN", "nan", "NAN")),
}
SOME = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_rows(path, rows, with_times=True):
    """Write events in the format that a file's name promises, all values quoted in CSV."""
    names = ["user_id", "item_id", "timestamp"][: 3 if with_times else 2]
    rows = [row[: len(names)] for row in rows]
    if path.suffix == ".parquet":
        return write_parquet(path, *map(list, zip(*rows, strict=True)))
    quoted = [",".join('"' + str(value).replace('"', '""') + '"' for value in row) for row in rows]
    path.write_bytes("\n".join([",".join(names), *quoted]).encode())
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", IDS)
@given(data=st.data())
@SOME
def test_identifiers_round_trip(tmp_path, suffix, kind, data):
    rows = data.draw(
        st.lists(
            st.tuples(IDS[kind], IDS[kind], st.integers(10**9, 2 * 10**9)), min_size=1, max_size=15
        )
    )
    with Store.open(":memory:") as store:
        ingest_period(store, write_rows(tmp_path / f"log{suffix}", rows))
        found = [(user, item, time // 10**6) for _, user, item, time in events_of(store)]
    expected = set(rows)
    if kind == "strings" and suffix == ".csv":
        # Text that is all digits is read as integers, column by column.
        found = [(str(user), str(item), time) for user, item, time in found]
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from("vwxyz"), st.integers(0, 6)),
        min_size=1,
        max_size=30,
    ),
    random=st.randoms(use_true_random=False),
)
@SOME
def test_the_order_of_lines_does_not_matter(tmp_path, suffix, rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    found = []
    for number, lines in enumerate((rows, shuffled)):
        with Store.open(":memory:") as store:
            path = write_rows(tmp_path / f"log{number}{suffix}", lines)
            ingest_log(store, [path], lambda times: np.unique(times)[1::2])
            content = dump(store)
        for ledger in ("ingests", "ingested_files"):
            del content[ledger]
        content["periods"] = [(*row[:3], *row[4:]) for row in content["periods"]]
        found.append(content)
    assert found[0] == found[1]


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1),
    with_times=st.booleans(),
)
@SOME
def test_twice_is_once(tmp_path, rows, with_times):
    path = write_rows(tmp_path / "log.csv", rows, with_times)
    with Store.open(":memory:") as store:
        first = ingest_period(store, path)
        before = dump(store)
        again = ingest_period(store, path)
        assert dump(store) == before
    assert again.already_ingested
    assert not first.already_ingested
    read = {"already_ingested": True, "layouts": (), "remarks": ()}
    assert vars(again) == {**vars(first), **read}
    assert first.interactions == (len(set(rows)) if with_times else len(rows))
    assert first.interactions + first.merged == first.lines


def test_progress_is_reported(store, write):
    said: list[tuple[str, int, int | None]] = []
    path = write("log.csv", HEADER + "u,a,1\n")
    ingest_period(store, path, progress=lambda *message: said.append(message))
    size = path.stat().st_size
    assert said == [
        ("checking log.csv", 0, 1),
        ("reading log.csv", 0, 1),
        ("reading log.csv", size, size),
        ("ordering events", 0, None),
        ("writing events", 0, None),
    ]


def test_the_view_shows_the_log_to_people(store, write):
    ingest_log(store, [write("a.csv", HEADER + "u,a,10\nv,b,20\nu,b,20\n")], cut_at(20))
    ingest_period(store, write("p_1.txt", "v a\nw b\n"))
    assert store.rows("FROM events") == events_of(store)


def test_files_of_one_log_may_differ_in_types_and_units(store, tmp_path):
    files = [
        write_parquet(tmp_path / "0.parquet", [1, 2], ["a", "b"], [10**9, 10**9 + 2]),
        write_parquet(tmp_path / "1.parquet", [2**40], ["a"], [(10**9 + 1) * 1000]),
        write_parquet(tmp_path / "2.parquet", [2.0], ["c"], [10.0**9 + 3]),
        tmp_path / "3.csv",
    ]
    files[-1].write_text(HEADER + "1,d,2001-09-09T01:46:44Z\n")
    ingest_log(store, files, cut_at())
    assert [(user, item, time / 10**6 - 10**9) for _, user, item, time in events_of(store)] == [
        *((1, "a", 0), (2**40, "a", 1), (2, "b", 2), (2, "c", 3), (1, "d", 4))
    ]
