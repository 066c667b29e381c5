"""Conditions on ratings and other columns choose the same rows in every format."""

import gzip
import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_log, ingest_period
from perennial.storage.log.periods import fingerprint
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.reading.filters import parse_where
from perennial.storage.reading.formats import read_file, read_times
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut

NAMES = ("user_id", "item_id", "rating", "event", "timestamp")
ROWS = [
    ("1", "10", "5", "buy", "1000000001"),
    ("2", "20", "3.5", "buy", "1000000002"),
    ("3", "30", "4", "view", "1000000003"),
    ("4", "40", "", "buy", "1000000004"),
    ("5", "50", "4.0", "add", "1000000005"),
]


def as_text(delimiter, header=True, types=False):
    def render(rows):
        names = [f"{name}:token" if types else name for name in NAMES]
        lines = [names, *rows] if header else rows
        return "".join(delimiter.join(line) + "\n" for line in lines).encode()

    return render


def as_parquet(rating=float, dictionaries=False):
    def render(rows):
        users, items, ratings, events, times = zip(*rows, strict=True) if rows else ((),) * 5
        table = pa.table(
            {
                "user_id": pa.array([int(one) for one in users], pa.int64()),
                "item_id": pa.array([int(one) for one in items], pa.int64()),
                "rating": [rating(one) if one else None for one in ratings],
                "event": pa.array(events, pa.string()),
                "timestamp": pa.array([int(one) for one in times], pa.int64()),
            }
        )
        if dictionaries:
            table = table.set_column(3, "event", table["event"].dictionary_encode())
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=2)
        return buffer.getvalue()

    return render


def as_json_lines(rows):
    """Objects with numbers, and without the rating where there is none."""
    objects = []
    for row in rows:
        values = dict(zip(NAMES, row, strict=True))
        numbers = {name: json.loads(text) for name, text in values.items() if text[:1].isdecimal()}
        objects.append(json.dumps({"event": values["event"], "rating": None} | numbers))
    return "".join(f"{one}\n" for one in objects).encode()


# Format -> how its file is made, and the names of its rating and event columns.
FORMATS = {
    "a.csv": (as_text(","), "rating", "event"),
    "b.csv.gz": (lambda rows: gzip.compress(as_text(";")(rows)), "rating", "event"),
    "c.tsv": (as_text("\t"), "3", "4"),
    "d.dat": (as_text("::", header=False), "3", "4"),
    "e.inter": (as_text("\t", types=True), "rating", "event"),
    "f.csv": (as_text(",", header=False), None, "4"),
    "j.jsonl": (as_json_lines, "rating", "event"),
    "g.parquet": (as_parquet(), "rating", "event"),
    "h.parquet": (as_parquet(np.float32, dictionaries=True), None, "4"),
    "i.parquet": (as_parquet(str), "rating", "event"),
}
each_format = pytest.mark.parametrize("name", FORMATS)


def read(path, least=None, where=None, rating=None):
    conditions = None if where is None else parse_where(where)
    raw = read_file(path, IngestSettings(min_rating=least, where=conditions, rating_column=rating))
    return [int(one) for one in pa.chunked_array([raw.users]).to_pylist()], raw


def pairs(store):
    events = store.rows("SELECT user_index, item_index FROM interactions ORDER BY rowid")
    users, items = zip(*events, strict=True)
    return [*zip(user_ids(store, np.array(users)), item_ids(store, np.array(items)), strict=True)]


@each_format
@pytest.mark.parametrize(
    ("least", "values", "users"),
    [
        (None, None, [1, 2, 3, 4, 5]),
        (4.0, None, [1, 3, 5]),
        (3.5, None, [1, 2, 3, 5]),
        (None, "buy", [1, 2, 4]),
        (None, "add,view", [3, 5]),
        (4.0, "buy,add", [1, 5]),
    ],
)
def test_the_same_rows_count_in_every_format(write, name, least, values, users):
    render, rating, event = FORMATS[name]
    where = None if values is None else [f"{event}={values}"]
    found, raw = read(write(name, render(ROWS)), least, where, rating)
    assert found == users
    assert (raw.num_lines, raw.layout.filtered, len(raw.rejects)) == (5, 5 - len(users), 0)
    assert [remark for remark in raw.remarks if "--min-rating" in remark] == (
        [] if least else [remark for remark in raw.remarks if "is ignored" in remark]
    )
    assert any("is ignored" in remark for remark in raw.remarks) == (least is None)


@each_format
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            *(st.integers(1, 9).map(str), st.integers(1, 9).map(str)),
            st.sampled_from(["", "1", "3.5", "4", "5.0"]),
            st.sampled_from(["buy", "view", "add"]),
            st.integers(10**9, 10**9 + 20).map(str),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_ingesting_with_conditions_equals_ingesting_what_was_filtered_by_hand(write, name, rows):
    render, rating, event = FORMATS[name]
    # The first row fixes the types; a headerless file needs a value everywhere to be recognised.
    rows = [("1", "1", "5", "buy", str(10**9)), *rows]
    by_hand = [row for row in rows if row[2] and float(row[2]) >= 4 and row[3] in ("buy", "add")]
    chosen = IngestSettings(
        min_rating=4.0, rating_column=rating or "3", where=parse_where([f"{event}=buy,add"])
    )
    with Store.open(":memory:") as one, Store.open(":memory:") as other:
        report = ingest_period(one, write(name, render(rows)), chosen)
        expected = ingest_period(other, write(name, render(by_hand)))
        assert report.filtered == len(rows) - len(by_hand)
        assert (report.interactions, report.merged) == (expected.interactions, expected.merged)
        assert fingerprint(one, 1) == fingerprint(other, 1)
        assert pairs(one) == pairs(other)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array([1, 0, 2, None]), "1"),
        (pa.array([1, 0, 2, None], pa.uint64()), "1.0"),
        (pa.array([1.0, 0.5, float("nan"), None]), "1"),
        (pa.array([1.0, 0.5, 2, None], pa.float32()), "1"),
        (pa.array(["1.0", "01", "x", None]), "1"),
        (pa.array([b"1", b"\xff", b"x", None]), "1"),
        (pa.array([True, False, False, None]), "True"),
        (pa.array([" TRUE", "false", "", None]), "true"),
        (pa.array(["a, b", "a", "b", None]), '"a, b"'),
        (pa.array([1, 2, 3, None], pa.date32()), "1970-01-02"),
        (pa.array([3.3, 3.2, 1e30, None], pa.float32()), "3.3"),
        (pa.array([np.float16(3.3), np.float16(3.2), None, None]), "3.30"),
        (pa.array([3.3, 3.2, float("nan"), None]), "3.3,nan"),
        (pa.array([Decimal("1.50"), Decimal("1.51"), Decimal(15), None]), "1.5"),
        (pa.array([Decimal("2.00"), Decimal("2.01"), Decimal(20), None]), "2"),
        (pa.array([100_000, 1, 10, None]), "1e5"),
    ],
)
def test_a_value_is_one_value_however_it_is_written(tmp_path, column, value):
    table = {"user_id": [1, 2, 3, 4], "item_id": [1, 2, 3, 4], "kind": column}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", where=[f"kind={value}"])[0] == [1]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(3, 1)])
def test_a_least_rating_with_a_fraction_is_reached_in_every_type(tmp_path, kind):
    ratings = pa.array([3.3, 3.2, None], pa.float64())
    if pa.types.is_decimal(kind) or kind == pa.float16():
        make = np.float16 if kind == pa.float16() else str
        ratings = pa.array([make(3.3), make(3.2), None])
    table = {"user_id": [1, 2, 3], "item_id": [1, 2, 3], "stars": ratings.cast(kind)}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", 3.3)[0] == [1]


def test_a_column_that_cannot_hold_ratings_is_named(tmp_path):
    table = {"user_id": [1], "item_id": [1], "stars": [True]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="column 'stars': type bool cannot hold ratings"):
        read(tmp_path / "a.parquet", 3)


def test_a_column_without_a_name_is_called_by_its_number(write):
    path = write("a.dat", "1::10::5::1000000001\n2::20::3::1000000002\n")
    assert read(path)[1].remarks[0].startswith("column 3 is ignored")


def test_a_rating_that_is_no_number_is_a_bad_line(write):
    path = write(
        "a.csv", "user_id,item_id,rating,e\n1,1,x,a\n2,2,1_0,a\n3,3,4,a\n4,4,,a\n5,5,y,b\n"
    )
    found, raw = read(path, 3, ["e=a"])
    assert (found, raw.lines.tolist()) == ([3], [4])
    assert (raw.rejects.lines.tolist(), raw.layout.filtered) == ([2, 3], 2)
    assert raw.rejects.counts() == {"rating is not a number": 2}


@pytest.mark.parametrize("word", ["", "NA", "N/A", "None", "NaN", "null", "\\N", "nat"])
def test_a_row_with_a_word_for_a_missing_rating_does_not_count(write, word):
    found, raw = read(write("a.csv", f"user_id,item_id,rating\n1,1,5\n2,2,{word}\n"), 3)
    assert (found, raw.layout.filtered, len(raw.rejects)) == ([1], 1, 0)


def test_ratings_in_netflix_blocks_decide(write):
    path = write("combined_data_1.txt", "7:\n1,5,2005-09-06\n2,3,2005-05-13\n8:\n3,4,2005-10-19\n")
    found, raw = read(path, 4)
    assert (found, raw.layout.filtered, raw.layout.rating) == ([1, 3], 1, "rating")
    assert pa.chunked_array([raw.items]).to_pylist() == ["7", "8"]
    assert read(path, where=["rating=3,5"])[0] == [1, 2]
    assert any("'rating' is ignored" in remark for remark in read(path)[1].remarks)


def test_times_of_rows_that_do_not_count_do_not_order_files(store, write):
    head = "user_id,item_id,rating,timestamp\n"
    one = write("one.csv", head + "1,1,5,1000000000\n1,2,5,1000000009\n")
    two = write("two.csv", head + "1,1,1,900000000\n1,2,5,1000000010\n")
    assert read_times(two, IngestSettings(min_rating=4.0)).to_pylist() == ["1000000010"]
    for path in (one, two):
        ingest_period(store, path, IngestSettings(min_rating=4.0))
    assert [row[0] for row in store.rows("SELECT interactions FROM periods")] == [2, 1]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"min_rating": 4.0}, "no rating column among user_id, item_id, plays: name it with"),
        ({"min_rating": 4.0, "rating_column": "stars"}, "no column 'stars' for the rating"),
        ({"where": parse_where(["event=a"])}, "no column 'event' for the --where among"),
        (
            {"where": parse_where(["plays=7"])},
            "of its 2 rows counts with --where plays=7: plays holds 200, 300$",
        ),
        (
            {"min_rating": 500.0, "rating_column": "plays", "where": parse_where(["item_id=1"])},
            "with --min-rating 500 --where item_id=1: item_id holds 1, 2; plays holds 200, 300$",
        ),
        ({"min_rating": float("nan"), "rating_column": "plays"}, "--min-rating nan is no number"),
        ({"rating_column": "plays"}, "--rating-column is for --min-rating"),
    ],
)
def test_conditions_that_cannot_hold_are_refused(store, write, choice, words):
    path = write("a.csv", "user_id,item_id,plays\n1,1,200\n1,2,300\n")
    with pytest.raises(UserError, match=words):
        ingest_period(store, path, IngestSettings(**choice))
    assert store.rows("SELECT count(*) FROM ingests") == [(0,)]


@pytest.mark.parametrize("text", ["event", "=a", "event=", "event=a,", "event=a,,b"])
def test_a_text_that_is_no_condition_is_refused(text):
    with pytest.raises(UserError, match="no condition"):
        parse_where([text])


def test_conditions_are_sorted_and_joined():
    assert parse_where(["b=2", "a= y,x", "b=1"]) == (("a", ("x", "y")), ("b", ("1", "2")))
    assert parse_where([]) is None


class TestNextNight:
    HEAD = "user_id,item_id,stars,event,timestamp\n"
    CHOSEN = IngestSettings(min_rating=4.0, where=(("event", ("buy",)),))

    @pytest.fixture
    def nights(self, write):
        return [
            write(f"{n}.csv", self.HEAD + "".join(f"1,{row},{10**9 + n}\n" for row in rows))
            for n in (1, 2)
            for rows in [(f"{n},5,buy", "9,3,buy", "8,5,view")]
        ]

    def test_the_conditions_of_the_last_ingestion_apply(self, store, nights):
        first = ingest_period(store, nights[0], self.CHOSEN)
        second = ingest_period(store, nights[1])
        assert (first.filtered, second.filtered, second.interactions) == (2, 2, 1)
        assert store.rows("SELECT id FROM items ORDER BY item_index") == [("1",), ("2",)]
        again = ingest_period(store, nights[0])
        assert (again.already_ingested, again.filtered) == (True, 2)

    def test_a_log_cut_into_periods_continues_too(self, store, nights):
        ingest_log(store, nights[:1], make_cut("equal-count", 1), self.CHOSEN)
        assert ingest_period(store, nights[1]).filtered == 2

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            (CHOSEN, {"min_rating": 3.0}, "--min-rating 4 --where event=buy; leave --min-rating"),
            (CHOSEN, {"where": (("event", ("view",)),)}, "leave --where out"),
            (IngestSettings(), {"min_rating": 4.0}, "read with neither --min-rating nor --where"),
        ],
    )
    def test_other_conditions_are_refused(self, store, nights, before, after, words):
        ingest_period(store, nights[0], before)
        with pytest.raises(UserError, match=words):
            ingest_period(store, nights[1], IngestSettings(**after))
        assert store.rows("SELECT count(*) FROM periods") == [(1,)]


@pytest.mark.parametrize(
    ("text", "given", "is_among"),
    [("1.50", "1.5", True), ("1.5", "1.500", True), ("2.00", "2", True), ("v1.50", "v1.5", False)],
)
def test_texts_of_decimals_are_compared_as_numbers(write, text, given, is_among):
    path = write("a.csv", f"user_id,item_id,d\n1,2,{text}\n1,3,x\n")
    assert read(path, where=[f"d={given}"])[0] == [1] * is_among


def test_several_files_without_rows_that_count_are_counted_together(tmp_path):
    files = (tmp_path / "a.csv", tmp_path / "b.csv")
    for path in files:
        path.write_text(f"user_id,item_id,d\n1,2,{path.stem}\n")
    chosen, words = IngestSettings(where=(("d", ("x",)),)), "^none of the 2 rows of 2 files counts"
    with Store.open(":memory:") as store, pytest.raises(UserError, match=words):
        ingest_log(store, files, cut=make_cut("day"), settings=chosen)
