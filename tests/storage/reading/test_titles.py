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
from perennial.storage.reading import titles as titles_file
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
    films = write(tmp_path / "films.dat", "x::1::Toy Story\n")
    assert read_titles_file(films, "2", "3").titles == {"1": "Toy Story"}


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
        ("", "no item column among none"),
        ("a,b\n1,2\n", "no item column among a, b; name it with --item-column"),
        ("item,b\n1,2\n", "no title column among item, b; name it with --title-column"),
        ("item,title\n", "no titles in it"),
        ("item,title\n1,A\n2\n", "row 3 has 1 columns, the first has 2"),
        ("1::Toy Story\n2\n", "line 2 has no title"),
        ('item,title\n1,"' + "x" * 200_000, "field larger"),
        ("item,title\n" + "y" * 2_000_000, "a line or the whole"),
        ("item,title\n" + "y" * 1001 + ",A\n", "an item of 1,001 characters"),
        (b"item,title\n1,L\xe9on\n", "not written in UTF-8"),
        (b"PAR1 no, it is not", "cannot be read"),
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
        ("title", [1.5], "column 'title' of type double cannot hold titles"),
        ("title", [[1]], "column 'title' of type list.* cannot hold titles"),
        ("item", [[1]], "column 'item' of type list.* cannot hold items"),
        ("item", [True], "column 'item': type bool cannot hold identifiers"),
        ("item", [1.5], "no titles in it"),
        ("item", [2.0**60], "exact up to 9,007,199,254,740,992 only"),
        ("item", ["x" * 1001], "an item of 1,001 characters"),
        ("item", ["x" * 70_000], "an item of more than 65,536 bytes"),
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
    with pytest.raises(UserError, match="5 rows are too many"):
        read_titles_file(tmp_path / "a.parquet")


def test_a_bomb_is_refused_before_memory_is(tmp_path, monkeypatch):
    monkeypatch.setattr(titles_file, "_MAX_TEXT", 10_000)
    bomb = gzip.compress(b"item,title\n" + b"1,A\n" * 10_000)
    with pytest.raises(UserError, match="too long"):
        read_titles_file(write(tmp_path / "a.csv.gz", bomb))


@given(st.text())
def test_a_clean_title_is_one_bounded_line(text):
    title = clean_title(text)
    assert len(title) <= MAX_TITLE
    assert title == title.strip()
    assert "  " not in title
    assert all(sign.isprintable() or sign in "\u200c\u200d" for sign in title)
    assert clean_title(title) == title


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
