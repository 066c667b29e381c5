"""Titles from files that anybody may have written."""

import csv
import gzip
import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading import formats
from perennial.storage.reading import titles as titles_file
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.reading.titles import MAX_TITLE, clean_title, read_titles_file

TITLES = {"1": "Toy Story (1995)", "2": "Amélie, “le film”"}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'item_id,title\n1,Toy Story (1995)\n2,"Amélie, “le film”"\n'),
        (
            "a.csv",
            '\ufeffmovieId,Title,genres\r\n1,Toy Story (1995),x\r\n2,"Amélie, “le film”",\r\n',
        ),
        ("a.csv", "id;year;name\n1;1995;Toy Story (1995)\n2;2001;Amélie, “le film”\n"),
        ("a.tsv", "title\titem\nToy Story (1995)\t 1 \nAmélie, “le film”\t2\n\n"),
        ("u.item", "movie id|movie title\n1|Toy Story (1995)\n2|Amélie, “le film”\n"),
        ("movies.dat", "1::Toy Story (1995)::Animation|Comedy\n2::Amélie, “le film”::Comedy\n"),
    ],
)
def test_text(tmp_path, name, text):
    assert read_titles_file(write(tmp_path / name, text)).titles == TITLES
    packed = write(tmp_path / f"{name}.gz", gzip.compress(text.encode()))
    assert read_titles_file(packed).titles == TITLES


@pytest.mark.parametrize(
    "item",
    [pa.int64(), pa.string(), pa.large_string(), pa.float32(), pa.float64(), pa.decimal128(25, 2)],
    ids=str,
)
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("delta", [False, True])
def test_parquet(tmp_path, item, encoded, delta):
    title = pa.array([*TITLES.values(), None])
    table = pa.table(
        {
            "extra": [[1], [2], [3]],
            "asin": pa.array([1, 2, None]).cast(item),
            "product_title": title.dictionary_encode() if encoded else title,
        }
    )
    encoding = {"product_title": "DELTA_BYTE_ARRAY"}
    options = {"use_dictionary": False, "column_encoding": encoding} if delta else {}
    pq.write_table(table, tmp_path / "titles.pq", **options)
    found = read_titles_file(tmp_path / "titles.pq")
    assert (found.titles, found.empty) == (TITLES, 1)


def test_items_have_the_form_that_they_have_in_the_log(tmp_path):
    upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    expected = {"1": "b", "007": "c", upper.lower(): "d"}
    text = write(tmp_path / "a.csv", f"item,title\n1,a\n1.0,b\n007,c\n{upper},d\n")
    read = read_titles_file(text)
    assert (read.titles, read.repeated) == (expected, 1)
    items = pa.table({"item": ["1.0", "007", f"{{{upper}}}"], "title": ["b", "c", "d"]})
    pq.write_table(items, tmp_path / "a.parquet")
    assert read_titles_file(tmp_path / "a.parquet").titles == expected
    uuids = pa.table({"item": pa.array([uuid.UUID(upper)], pa.uuid()), "title": ["d"]})
    pq.write_table(uuids, tmp_path / "a.parquet")
    assert read_titles_file(tmp_path / "a.parquet").titles == {upper.lower(): "d"}


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path / "a.csv", "number,item,title,heading\n1,x,y,Toy Story\n")
    assert read_titles_file(path).titles == {"x": "y"}
    assert read_titles_file(path, "number", "heading").titles == {"1": "Toy Story"}
    assert read_titles_file(path, "1", "4").titles == {"1": "Toy Story"}
    bare = write(tmp_path / "bare.csv", "Toy Story,1\nJumanji,2\n")
    assert read_titles_file(bare, "2", "1").titles == {"1": "Toy Story", "2": "Jumanji"}
    digits = write(tmp_path / "digits.csv", "1,Toy Story,2\n2,Jumanji,3\n")
    assert read_titles_file(digits, "1", "2").titles == {"1": "Toy Story", "2": "Jumanji"}
    films = write(tmp_path / "films.dat", "x::1::Toy Story\n")
    assert read_titles_file(films, "2", "3").titles == {"1": "Toy Story"}


@pytest.mark.parametrize(
    ("name", "text", "choice", "form"),
    [
        (
            "a.csv",
            "id,name\n1,Léon\n".encode("utf-16"),
            {},
            "text, header (guessed), commas, UTF-16",
        ),
        (
            "u.item",
            "1|Léon|1994|x\n".encode("latin-1"),
            {"encoding": "latin-1"},
            "text, no header (guessed), vertical bars, ISO8859-1",
        ),
        ("a.csv", "1,1994,Léon\n2,1995,Léon\n", {}, "text, no header (guessed), commas, UTF-8"),
        ("a.csv", "x1,Léon\n", {"header": False}, "text, no header, commas, UTF-8"),
        ("a.txt", "id\ttitle\n1\tLéon\n", {}, "text, header (guessed), tabs, UTF-8"),
        ("a.jsonl", '{"item": {"sku": 1}, "title": "Léon"}\n', {}, "JSON lines, UTF-8"),
        ("a.json.gz", gzip.compress(b'{"id": 1, "title": "L\\u00e9on"}'), {}, "JSON lines, UTF-8"),
        ("a", "id,title\r\n1, Léon\r\n", {}, "text, header (guessed), commas, UTF-8"),
    ],
)
def test_all_formats_of_logs_are_read(tmp_path, name, text, choice, form):
    columns = ("item.sku", "title") if "sku" in str(text) else ()
    found = read_titles_file(
        write(tmp_path / name, text), *columns or (None, None), IngestSettings(**choice)
    )
    assert set(found.titles.values()) == {"Léon"}
    assert found.describe().startswith(f"read as {form}; item = ")
    assert found.remarks == ()


@pytest.mark.parametrize("option", ["header", "encoding"])
def test_options_of_text_are_not_for_parquet(tmp_path, option):
    pq.write_table(pa.table({"item": [1], "title": ["A"]}), tmp_path / "a.parquet")
    given = IngestSettings(**{option: {"header": True, "encoding": "latin-1"}[option]})
    with pytest.raises(UserError, match=f"--{option} is given, and parquet files have none"):
        read_titles_file(tmp_path / "a.parquet", None, None, given)


def test_a_few_bad_lines_are_rejected(tmp_path):
    lines = [f"{item},Film {item}\n" for item in range(40)]
    path = write(tmp_path / "a.csv", "item,title\n" + "".join(lines) + "40\n")
    found = read_titles_file(path)
    assert (len(found.titles), found.rejects.lines.tolist()) == (40, [42])
    with pytest.raises(UserError, match="more than the share of 0 that may be"):
        read_titles_file(path, None, None, IngestSettings(max_reject_share=0))


def test_movielens_is_in_latin_1(tmp_path):
    path = write(tmp_path / "movies.dat", "1::Léon (1994)::Crime\n", "latin-1")
    assert read_titles_file(path).titles == {"1": "Léon (1994)"}


def test_left_out_rows_are_counted(tmp_path):
    long = "x" * (MAX_TITLE + 5)
    path = write(tmp_path / "a.csv", f"item,title\n1,A\n1,B\n2,\n,C\n3,{long}\n4,\x00\x07\n")
    found = read_titles_file(path)
    assert found.titles == {"1": "B", "3": "x" * (MAX_TITLE - 1) + "…"}
    assert (found.repeated, found.empty, found.cut) == (1, 3, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no titles in it"),
        ("a,b\n1,2\n", "no item column among a, b: name it with --item-column"),
        ("item,b\n1,2\n", "no title column among item, b: name it with --title-column"),
        ("item,title\n", "no titles in it"),
        ("item,title\n1,A\n2\n", "1 × wrong number of columns; the first is line 3"),
        ("1::Toy Story\n2\n", "1 × wrong number of columns; the first is line 2"),
        ('item,title\n1,"' + "x" * 200_000, "1 × misplaced or unclosed quote"),
        ("item,title\n" + "y" * 20_000_000, "a line is longer than"),
        ("item,title\n" + "y" * 1001 + ",A\n", "an item of 1,001 characters"),
        (b"item,title\n1,L\xe9on\n", "1 × invalid UTF-8.*name it, such as --encoding latin-1"),
        (b"PAR1 no, it is not", "a Parquet file; name the format parquet"),
        (b"\x1f\x8b and then nothing", "cannot be read"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, words):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(UserError, match=rf"a\.csv: .*{words}") as failed:
        read_titles_file(path)
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("a.csv", ["sku"], "no column 'sku' for the item among item, title"),
        ("a.csv", ["item", "item"], "must be different columns"),
        ("absent.csv", [], "cannot be read"),
    ],
)
def test_columns_that_are_not_there(tmp_path, name, columns, words):
    write(tmp_path / "a.csv", "item,title\n1,A\n")
    with pytest.raises(UserError, match=words):
        read_titles_file(tmp_path / name, *columns)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("title", [1.5], "column 'title': type double cannot hold titles"),
        ("title", [[1]], "column 'title': type list.* cannot hold titles"),
        ("item", [[1]], "column 'item': type list.* cannot hold identifiers"),
        ("item", [True], "column 'item': type bool cannot hold identifiers"),
        ("item", [1.5], "1 × item is not a whole number"),
        ("item", [2.0**60], "exact up to 9,007,199,254,740,991 only"),
        ("item", ["x" * 1001], "an item of 1,001 characters"),
        ("item", ["x" * 70_000], "1 × item is longer than 65536 bytes"),
    ],
)
def test_parquet_columns_of_other_kinds(tmp_path, column, values, words):
    table = pa.table({"item": [1], "title": ["A"]} | {column: values})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=words):
        read_titles_file(tmp_path / "a.parquet")


def test_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(titles_file, "MAX_TITLES", 2)
    path = write(tmp_path / "a.csv", "item,title\n1,A\n2,B\n3,C\n")
    with pytest.raises(UserError, match="more than 2 titles"):
        read_titles_file(path)
    pq.write_table(pa.table({"item": range(5), "title": ["A"] * 5}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="more than 2 titles"):
        read_titles_file(tmp_path / "a.parquet")


def test_a_bomb_is_refused_before_memory_is(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "Budget", lambda: Budget(lambda: 10_000))
    bomb = gzip.compress(b"item,title\n" + b"1,A\n" * 10_000)
    with pytest.raises(UserError, match="takes more than half of"):
        read_titles_file(write(tmp_path / "a.csv.gz", bomb))


@given(st.text())
def test_a_clean_title_is_one_bounded_line(text):
    title = clean_title(text)
    assert len(title) <= MAX_TITLE
    assert title == title.strip()
    assert "  " not in title
    assert all(sign.isprintable() or sign in "\u200c\u200d" for sign in title)
    assert clean_title(title) == title


@pytest.mark.parametrize("suffix", ["csv", "dat", "tsv", "jsonl", "parquet", "unknown"])
@given(
    content=st.one_of(
        st.binary(max_size=100),
        st.text('12ab:,;|\t\n\r "{}é', max_size=100).map(
            lambda text: f"item,title\n{text}".encode()
        ),
    )
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, suffix, content):
    path = write(tmp_path_factory.mktemp("any") / f"a.{suffix}", content)
    try:
        found = read_titles_file(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert found.titles
        assert all(clean_title(title) == title for title in found.titles.values())


def test_control_characters_are_removed():
    odd = "\x1b[31mred\x07\u202etxt.exe\n next\u2028line"
    assert clean_title(odd) == "[31mredtxt.exe next line"
    assert clean_title("می\u200cخواهم") == "می\u200cخواهم"


@given(
    st.dictionaries(
        st.text("abc123 ,;\"'é|\t", min_size=1).filter(lambda text: text.strip() == text != ""),
        st.text("abc123 ,;\"'é|", min_size=1).filter(lambda text: clean_title(text) == text != ""),
        min_size=1,
    )
)
def test_what_csv_writes_is_read(tmp_path_factory, titles):
    text = io.StringIO()
    csv.writer(text).writerows([("item", "title"), *titles.items()])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    assert read_titles_file(path).titles == titles
