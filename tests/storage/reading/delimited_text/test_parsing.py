"""Every good line is a row, every bad one is named by its number."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading.delimited_text.parsing import Dialect, find_bad_utf8, read_text
from perennial.storage.reading.rejects import Fault

CSV = Dialect(b",", 3, True, 0)


def read(content, dialect=CSV, block_bytes=1 << 24):
    return read_text(
        io.BytesIO(content), dialect, tuple(range(dialect.num_columns)), block_bytes=block_bytes
    )


def rows_of(text):
    return list(zip(*(column.to_pylist() for column in text.columns), strict=True))


def rejects_of(text):
    return {
        int(line): Fault(fault)
        for line, fault in zip(text.rejects.lines, text.rejects.faults, strict=True)
    }


def test_rows_lines_and_rejects():
    text = read(b"a,b,c\n\nd,e\n1,2,3,4\r\n\r\n5,6,7\r\nx\xff,y,z\n8,9,0")
    assert rows_of(text) == [("a", "b", "c"), ("5", "6", "7"), ("8", "9", "0")]
    assert text.lines.tolist() == [1, 6, 8]
    assert rejects_of(text) == {3: Fault.WRONG_COLUMNS, 4: Fault.WRONG_COLUMNS, 7: Fault.BAD_UTF8}
    assert text.num_lines == 6


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (rb'"a","say \"hi\"","c"', ("a", 'say "hi"', "c")),
        (rb'"\"a\"","b",c', ('"a"', "b", "c")),
        (rb'"\\\"a",b,c', ('\\\\"a', "b", "c")),
        # A quote that may close a value does so.
        (rb'"C:\","b","c\""d"', ("C:\\", "b", 'c\\"d')),
    ],
)
@pytest.mark.parametrize("block_bytes", [40, 1 << 24])
def test_quotes_after_a_backslash_are_part_of_the_value(line, row, block_bytes):
    content = b'"x\ny",e,f\n' + line + b"\n"
    assert rows_of(read(content, block_bytes=block_bytes)) == [("x\ny", "e", "f"), row]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b'"a","b","c"', ("a", "b", "c")),
        (b'"a,b",c,""', ("a,b", "c", "")),
        (b'"say ""hi""",b,""""', ('say "hi"', "b", '"')),
        (b",,", ("", "", "")),
        (b" a, b ,c ", (" a", " b ", "c ")),
        ('"é","∞",😀'.encode(), ("é", "∞", "😀")),
        (b"a\x00b,c,d", ("a\x00b", "c", "d")),
        (b"NULL,NaN,N/A", ("NULL", "NaN", "N/A")),
    ],
)
def test_values_are_read_unchanged(line, row):
    assert rows_of(read(line + b"\n")) == [row]
    assert rows_of(read(line + b"\r\n" + line)) == [row, row]


@pytest.mark.parametrize("line", [b'"a,b,c', b'a,"b"x,c', b'a,b"c",d', b'a,b,c"', b'"a" ,b,c'])
def test_misplaced_quotes_cost_their_line_only(line):
    text = read(b"1,2,3\n" + line + b'\n"4",5,6\n')
    assert rows_of(text) == [("1", "2", "3"), ("4", "5", "6")]
    assert rejects_of(text) == {2: Fault.BAD_QUOTES}


WRONG = Fault.WRONG_COLUMNS


@pytest.mark.parametrize(
    ("dialect", "content", "rows", "lines", "rejects"),
    [
        (
            *(Dialect(b"\t", 2, False, 0), b'1\t"a\n"\t2\n'),
            *([("1", '"a'), ('"', "2")], [1, 2], {}),
        ),
        (
            *(Dialect(b"::", 3, False, 0), b"1::10::978300760\n2:x::20::1\n3::30\n"),
            *([("1", "10", "978300760"), ("2:x", "20", "1")], [1, 2], {3: WRONG}),
        ),
        (
            *(Dialect(b" ", 2, False, 0), b"1 2\n\t3\t \t4  \r\n5\n  \n6 7 8\n9\t10"),
            *([("1", "2"), ("3", "4"), ("9", "10")], [1, 2, 6], {3: WRONG, 5: WRONG}),
        ),
        (Dialect(b",", 3, True, 2), b"\xef\xbb\xbf\nx,y\n1,2,3\n", [("1", "2", "3")], [3], {}),
    ],
    ids=["plain quotes", "delimiter of two bytes", "any blanks", "header and byte order mark"],
)
def test_dialects(dialect, content, rows, lines, rejects):
    text = read(content, dialect)
    assert rows_of(text) == rows
    assert text.lines.tolist() == lines
    assert rejects_of(text) == rejects


@pytest.mark.parametrize("content", [b"", b"\n\n\r\n", b"only,two\n"])
def test_files_without_rows(content):
    text = read(content)
    assert rows_of(text) == []
    assert text.num_lines == len(text.rejects)


def test_a_line_without_end_is_refused():
    with pytest.raises(UserError, match="longer than 64 bytes"):
        read(b"a" * 200, block_bytes=64)


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12), st.integers(64, 300))
@settings(max_examples=150)
def test_what_a_csv_writer_writes_is_read_back(rows, block_bytes):
    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    content = sink.getvalue().encode()
    longest = max((len(line) for line in content.split(b"\n")), default=0)
    text = read(content, block_bytes=max(block_bytes, longest + 2))
    assert rows_of(text) == rows
    sizes = [1 + sum(value.count("\n") for value in row) for row in rows]
    assert text.lines.tolist() == [1 + sum(sizes[:number]) for number in range(len(rows))]
    assert len(text.rejects) == 0


@pytest.mark.parametrize(
    ("content", "rows", "lines", "rejects"),
    [
        ('1,"a\nb",2\n3,4,5\n', [("1", "a\nb", "2"), ("3", "4", "5")], [1, 3], {}),
        ('1,"a\r\n""9,8,7""\n",2\n', [("1", 'a\r\n"9,8,7"\n', "2")], [1], {}),
        ('1,"a\nb","c\nd"\n3,4,5', [("1", "a\nb", "c\nd"), ("3", "4", "5")], [1, 4], {}),
        ('1,"a\nb"\n3,4,5\n', [("3", "4", "5")], [3], {1: WRONG}),
        # A quote that nothing closes costs its own line.
        ('1,"a,b\n3,4,5\n6,7,8\n', [("3", "4", "5"), ("6", "7", "8")], [2, 3], {1: "open"}),
        ('1,"a,b\n3,4,5\n6,7"x,8\n', [("3", "4", "5")], [2], {1: "open", 3: "open"}),
        ('1,a",b\n3,4,5\n6,7",8\n', [("3", "4", "5")], [2], {1: "open", 3: "open"}),
    ],
)
@pytest.mark.parametrize("block_bytes", [16, 1 << 24])
def test_quotes_enclose_newlines(content, rows, lines, rejects, block_bytes):
    text = read(content.encode(), block_bytes=block_bytes)
    assert rows_of(text) == rows
    assert text.lines.tolist() == lines
    faults = {
        line: Fault.BAD_QUOTES if fault == "open" else fault for line, fault in rejects.items()
    }
    assert rejects_of(text) == faults


def test_a_quote_without_end_does_not_take_the_file(monkeypatch):
    monkeypatch.setattr("perennial.storage.reading.delimited_text.records._LONGEST_RECORD", 100)
    content = b'1,"a,b\n' + b"3,4,5\n" * 200
    text = read(content, block_bytes=64)
    assert rejects_of(text) == {1: Fault.BAD_QUOTES}
    assert len(text.lines) == 200


@pytest.mark.parametrize("quoting", [True, False])
def test_blanks_after_delimiters_are_dropped(quoting):
    dialect = Dialect(b",", 3, quoting, 0, spaced=True)
    text = read(b'a, b,  c\n d,"e, f", "g"\n' if quoting else b"a, b,  c\n d,e f,\tg\n", dialect)
    second = ("d", "e, f", "g") if quoting else ("d", "e f", "\tg")
    assert rows_of(text) == [("a", "b", "c"), second]


@given(
    st.lists(
        st.binary(max_size=20).map(lambda line: line.translate(None, delete=b'\n"')), max_size=12
    )
)
@settings(max_examples=150)
def test_any_bytes_are_rows_or_rejects(lines):
    text = read(b"".join(line + b"\n" for line in lines))
    blank = {number for number, line in enumerate(lines, 1) if line in (b"", b"\r")}
    found = text.lines.tolist() + text.rejects.lines.tolist()
    if not lines or not lines[0].startswith(b"\xef\xbb\xbf"):
        assert sorted(found) == [n for n in range(1, len(lines) + 1) if n not in blank]


def is_bad(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


@given(
    st.lists(
        st.one_of(
            st.text(max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.binary(max_size=4),
            st.lists(st.sampled_from(b"\xc1\xc2\xe0\xed\xf0\xf4\xf5\x80\x8f\x90\xa0\xbf\x41")).map(
                bytes
            ),
        ).map(lambda line: line.replace(b"\n", b"")),
        max_size=8,
    )
)
@settings(max_examples=300)
def test_bad_utf8_is_found_like_pythons_decoder_finds_it(lines):
    data = np.frombuffer(b"".join(line + b"\n" for line in lines), np.uint8)
    line_of_byte = np.repeat(np.arange(len(lines)), [len(line) + 1 for line in lines])
    # A sequence that a line end cuts off is bad at the line end, which still belongs to its line.
    bad_lines = set(line_of_byte[find_bad_utf8(data)].tolist()) if lines else set()
    assert bad_lines == {number for number, line in enumerate(lines) if is_bad(line)}


def test_blocks_of_many_short_lines_are_cut(monkeypatch):
    content = b"a,b,c\n1,2\n\n\n\n" * 5 + b"x" * 50 + b",y,z\n\n\n" + b"a,b,c\n" * 3
    whole = read(content)
    monkeypatch.setattr("perennial.storage.reading.delimited_text.records._MANY_LINES", 12)
    parts = read(content)
    assert rows_of(parts) == rows_of(whole)
    assert parts.lines.tolist() == whole.lines.tolist()
    assert rejects_of(parts) == rejects_of(whole)
