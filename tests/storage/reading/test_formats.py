"""A log is read alike from every format, and its columns are guessed in a fixed order."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Columns, find_column, find_columns, looks_like_header
from perennial.storage.reading.formats import read_file, read_times
from perennial.storage.reading.settings import FileSettings as Settings

Write = Callable[[str, str | bytes], Path]

USERS, ITEMS = ["196", "186", "196"], ["242", "302", "51"]
TIMES = ["881250949", "891717742", "881250949"]

# The first line or lines of a file, and what its rows look like.
FILES = {
    "log.csv": ("userId,movieId,rating,timestamp\n", "{user},{item},3,{time}\n"),
    "semicolons.csv": ("rating;user_id;item_id;ts\n", "3;{user};{item};{time}\n"),
    "quoted.csv": ('"user_id","item_id","time"\r\n', '{user},"{item}","{time}"\r\n'),
    "log.tsv": ("session_id\titem_id\ttime\n", "{user}\t{item}\t{time}\n"),
    "marked.csv": ("\ufeffuser_id,item_id,timestamp\n", "{user},{item},{time}\n"),
    "marked_only.csv": ("\ufeff", "{user},{item},{time}\n"),
    "u.data": ("", "{user}\t{item}\t3\t{time}\n"),
    "headerless.csv": ("", "{user},{item},4.5,{time}\n"),
    "three.csv": ("", "{user},{item},{time}\n"),
    "time_third.csv": ("", "{user},{item},{time},5\n"),
    "ratings.dat": ("", "{user}::{item}::3::{time}\n"),
    "tabs.dat": ("userID\tartistID\ttimestamp\n", "{user}\t{item}\t{time}\n"),
    "log.inter": ("user_id:token\titem_id:token\tts:float\n", "{user}\t{item}\t{time}\n"),
    "blank.csv": ("\n\nuser_id,item_id,timestamp\n\n", "{user},{item},{time}\n\n"),
}


def render(name):
    head, row = FILES[name]
    events = zip(USERS, ITEMS, TIMES, strict=True)
    return head + "".join(row.format(user=user, item=item, time=at) for user, item, at in events)


def read(path, **choice):
    return read_file(path, Settings(**choice))


PACKED = gzip.compress(b"user_id,item_id\n1,2\n" * 100, mtime=0)
"""Without the time in it, or each process that runs tests would name this one differently."""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_text_formats_agree(write, name, packed):
    content = render(name).encode()
    path = write(f"{name}.gz", gzip.compress(content)) if packed else write(name, content)
    raw = read(path)
    assert (raw.users.to_pylist(), raw.items.to_pylist()) == (USERS, ITEMS)
    assert raw.times is not None
    assert (raw.times.to_pylist(), raw.typed, raw.num_lines) == (TIMES, (False, False), 3)
    lines = render(name).split("\n")
    assert [("186" in lines[line - 1]) for line in raw.line_numbers()] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("period_0.txt", "196 242\n186 302\n196 51\n"),
        ("period_1.txt", "196\t242\n186\t302\n196\t51\n"),
        ("period_2.txt", "  196   242 \n186 \t 302\n196 51"),
        ("period_3.txt", "196,242\n186,302\n196,51\n"),
        ("pairs.csv", "user_id,item_id\n196,242\n186,302\n196,51\n"),
        ("ratings.csv", "196,242,3\n186,302,4.5\n196,51,1\n"),
        ("sessions.txt", "SessionId ItemId\n196 242\n186 302\n196 51\n"),
    ],
)
def test_files_without_times(write, name, content):
    raw = read(write(name, content))
    assert (raw.users.to_pylist(), raw.items.to_pylist()) == (USERS, ITEMS)
    assert raw.times is None


def test_columns_can_be_named_or_counted(write):
    path = write("named.csv", "a,b,c,user_id,item_id\n1,2,3,4,5\n")
    raw = read(path, user_column="b", item_column="a", time_column="c")
    assert (raw.users[0].as_py(), raw.items[0].as_py(), raw.times[0].as_py()) == ("2", "1", "3")
    path = write("counted.csv", "B1,A1,5.0,1400000000\n")
    raw = read(path, user_column="2", item_column="1", time_column="4")
    assert (raw.users[0].as_py(), raw.items[0].as_py(), raw.num_lines) == ("A1", "B1", 1)


@pytest.mark.parametrize("suffix", ["zip", "zst", "csv.bz2", "tar.gz", "jsonl.xz"])
def test_packed_files_are_refused_by_their_names(write, suffix):
    with pytest.raises(UserError, match=r"packed as \.(zip|zst|bz2|tar|xz); unpack it"):
        read(write(f"log.{suffix}", "user_id,item_id\n1,2\n"))


def test_a_format_can_be_named(write):
    path = write("log.unknown", "1::2::3::881250949\n")
    with pytest.raises(UserError, match="cannot recognise the format of this file"):
        read(path)
    assert read_file(path, Settings(format="dat")).users.to_pylist() == ["1"]
    with pytest.raises(UserError, match="unknown format 'xml'"):
        read_file(path, Settings(format="xml"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("names.csv", "who,what,when\na,b,c\n", "no user column among who, what, when"),
        ("half.csv", "user_id,what,timestamp\n1,2,3\n", "no item column among user_id, what"),
        ("pairs.csv", "alice,book\nbob,book\n", "no user column among alice, book"),
        ("one.csv", "123\n456\n", "a line needs a column of users and one of items"),
        ("empty.csv", "", "no interactions"),
        ("blank.csv", "\n\r\n \n", "no interactions"),
        ("log.inter", "a:token\tb:token\n1\t2\n", "no user column among a, b"),
        ("log.parquet", "PAR1 but not really", "cannot be read"),
        ("log.csv.gz", PACKED[:-20], "cannot be read"),
        ("broken.csv.gz", b"\x1f\x8b\x08\x00 nonsense", "cannot be read"),
    ],
)
def test_unreadable_files_are_refused_with_the_reason(write, name, content, words):
    path = write(name, content)
    with pytest.raises(UserError, match=words) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.parquet", "folder.csv"):
        with pytest.raises(UserError, match="cannot be read"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int64(), pa.int32(), pa.uint64(), pa.string(), pa.large_string(), pa.binary(),
        pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64()),
        pa.decimal128(20, 0), pa.float64(),
    ],
)  # fmt: skip
def test_parquet_types(tmp_path, kind):
    values = pa.array([int(user) for user in USERS])
    if pa.types.is_dictionary(kind):
        users = values.cast(kind.value_type).dictionary_encode().cast(kind)
    else:
        users = values.cast(pa.string()).cast(kind)
    table = pa.table({"user_id": users, "item_id": ITEMS, "timestamp": values})
    pq.write_table(table, tmp_path / "log.parquet")
    raw = read(tmp_path / "log.parquet")
    is_array = isinstance(raw.users, np.ndarray)
    read_users = raw.users.tolist() if is_array else raw.users.cast(pa.string()).to_pylist()
    assert [*map(str, read_users)] == USERS
    as_array = (pa.int64(), pa.int32(), pa.uint64(), pa.dictionary(pa.int32(), pa.int64()))
    assert is_array == (kind in as_array)
    assert (raw.items.to_pylist(), raw.typed, raw.num_lines) == (ITEMS, (True, True), 3)
    assert raw.line_numbers().tolist() == [1, 2, 3]


@pytest.mark.parametrize("odd", [2**31, 2**32 - 1])
def test_large_unsigned_columns_are_kept(tmp_path, odd):
    users = pa.array([1, 2, odd, 4], pa.uint32())
    table = pa.table({"user_id": users, "item_id": users})
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=1)
    assert read(tmp_path / "log.parquet").users.to_pylist() == [1, 2, odd, 4]


def test_parquet_row_groups_keep_their_order_and_width(tmp_path):
    rng = np.random.default_rng(0)
    users = rng.integers(0, 100, 200_000)
    users[123_456] = 2**40
    items = np.arange(200_000)
    table = pa.table({"user_id": users, "item_id": items, "timestamp": items[::-1] + 10**9})
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=7_000)
    raw = read(tmp_path / "log.parquet")
    np.testing.assert_array_equal(raw.users, users)
    np.testing.assert_array_equal(raw.items, items)
    np.testing.assert_array_equal(raw.times, items[::-1] + 10**9)
    assert isinstance(raw.items, np.ndarray)
    assert isinstance(raw.users, pa.ChunkedArray)


def test_columns_without_statistics_are_read(tmp_path):
    table = pa.table({"user_id": [3, 1], "item_id": [7, 7], "timestamp": [1, None]})
    for statistics in (True, False):
        pq.write_table(table, tmp_path / "log.parquet", write_statistics=statistics)
        raw = read(tmp_path / "log.parquet")
        assert isinstance(raw.users, np.ndarray)
        assert list(map(int, np.asarray(raw.users))) == [3, 1]
        assert raw.times.to_pylist() == [1, None]


def test_parquet_without_rows(tmp_path):
    empty = pa.array([], pa.int64())
    pq.write_table(pa.table({"user_id": empty, "item_id": empty}), tmp_path / "log.parquet")
    raw = read(tmp_path / "log.parquet")
    assert raw.num_lines == len(raw.users) == len(raw.items) == 0


def test_names_with_stars_name_one_file(write):
    path = write("log[1]*.csv", "user_id,item_id\n1,2\n")
    write("log1x.csv", "user_id,item_id\n3,4\n")
    assert read(path).users.to_pylist() == ["1"]


class TestTimesAlone:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.csv", "user_id,item_id,timestamp\nu,i,5\nv,j,3\n"),
            ("a.tsv", "user_id\titem_id\ttimestamp\nu\ti\t5\nv\tj\t3\n"),
            ("a.dat", "1::2::5::881250949\n1::3::4::881250950\n"),
        ],
    )
    def test_are_those_of_the_whole_file(self, write, name, content):
        path = write(name, content)
        whole = read_file(path, Settings()).times
        assert read_times(path, Settings()).to_pylist() == whole.to_pylist()

    def test_of_parquet_no_other_column_is_read(self, tmp_path):
        lists = pa.array([[1], [2]])
        table = {"user_id": lists, "item_id": lists, "timestamp": pa.array([5, 3])}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        assert read_times(tmp_path / "a.parquet", Settings()).tolist() == [5, 3]
        with pytest.raises(UserError, match="cannot hold identifiers"):
            read_file(tmp_path / "a.parquet", Settings())

    def test_may_be_none(self, write, tmp_path):
        assert read_times(write("period_0.txt", "a b\n"), Settings()) is None
        table = {"user_id": [1], "item_id": [2]}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        assert read_times(tmp_path / "a.parquet", Settings()) is None


GUESSES = [
    ("user_id item_id rating timestamp", (0, 1, 3)),
    ("userId,movieId,rating,timestamp", (0, 1, 3)),
    ("session_id,item_id", (0, 1, None)),
    ("ts sessionId itemId", (1, 2, 0)),
    ("household_id,store_id,basket_id,product_id,quantity,transaction_timestamp", (0, 3, 5)),
    ("reviewerID asin overall unixReviewTime", (0, 1, 3)),
    ("User,Item,Time", (0, 1, 2)),
    ("asin parent_asin user_id timestamp", (2, 1, 3)),
    ("session_id user_id item_id date", (1, 2, 3)),
    (" user id , item-id ,TIME", (0, 1, 2)),
]


@pytest.mark.parametrize(("names", "places"), GUESSES)
def test_common_names_are_found(names, places):
    split = names.split("," if "," in names else " ")
    assert find_columns(split, Settings()).events == Columns(*places).events
    assert looks_like_header(split)


@pytest.mark.parametrize(
    ("names", "given", "place"),
    [
        (["user", "item", "time"], "2", 1),
        (["1", "2", "3"], "2", 1),
        (["user", "item", "2024"], "2024", 2),
        (["0", "1"], "0", 0),
    ],
)
def test_digits_are_a_position_or_else_a_name(names, given, place):
    assert find_column(names, given, (), "user") == place


@pytest.mark.parametrize(("names", "given"), [(["2", "1"], "1"), (["user", "item", "1"], "1")])
def test_a_position_that_names_another_column_is_refused(names, given):
    words = f"'1' for the user is the position of column '{names[0]}' and the name of another"
    with pytest.raises(UserError, match=words):
        find_column(names, given, (), "user")
    assert find_column(names, given, (), "user", header=True) == names.index(given)


def test_given_names_go_over_guesses():
    names = ["user_id", "item_id", "seller", "timestamp", "seen"]
    assert find_columns(names, Settings(user_column="seller")) == Columns(2, 1, 3)
    assert find_columns(names, Settings(item_column="seller", time_column="seen")) == Columns(
        0, 2, 4
    )


@pytest.mark.parametrize(
    ("names", "choice", "words"),
    [
        (["a", "item_id"], Settings(), "no user column among a, item_id: name it"),
        (["user_id", "b"], Settings(), "no item column among user_id, b: name it"),
        (["user_id", "item_id", "user_id"], Settings(), "several columns are called 'user_id'"),
        (["user_id", "item_id"], Settings(time_column="when"), "no column 'when' for the time"),
        (["user_id", "item_id"], Settings(user_column="item_id"), "must be different columns"),
        (["user_id", "item_id"], Settings(time_column="item_id"), "must be different columns"),
    ],
)
def test_what_cannot_be_found_is_named(names, choice, words):
    with pytest.raises(UserError, match=words):
        find_columns(names, choice)


def test_data_is_no_header():
    assert not looks_like_header(["196", "242", "3", "881250949"])
    assert not looks_like_header(["user_id", "rating"])


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize(
    ("enclosed", "is_suspect"), [("2,3\n4,5,6\n7,8", True), ("one\ntwo", False), ("x,y", False)]
)
def test_quotes_around_whole_rows_are_remarked_on(tmp_path, separator, enclosed, is_suspect):
    path = tmp_path / "log.csv"
    text = f'user_id,item_id,note\n1,2,z\n1,"{enclosed}",9\n'
    path.write_text(text.replace(",", separator))
    remarks = [one for one in read_file(path, Settings()).remarks if "quotes join" in one]
    assert len(remarks) == is_suspect
    assert not is_suspect or remarks[0].startswith("line 3:")
