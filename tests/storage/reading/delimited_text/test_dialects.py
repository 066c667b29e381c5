"""Header, separator, quotes and columns are found in the first lines, or given."""

import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Columns
from perennial.storage.reading.delimited_text.dialects import HEAD_BYTES, detect_layout
from perennial.storage.reading.settings import FileSettings


def detect(text, text_format="csv", **given):
    return detect_layout(text.encode(), FileSettings(**given), text_format)


@pytest.mark.parametrize(
    ("text", "given", "header", "columns"),
    [
        ("1,2,3,4\n5,6,7,8\n", {"user_column": "1", "item_column": "2"}, False, (0, 1, None)),
        ("1,2,3\n5,6,7\n", {"user_column": "2", "item_column": "3"}, False, (1, 2, None)),
        (
            "Nutzer,Artikel\n1,2\n3,4\n",
            {"user_column": "1", "item_column": "2"},
            True,
            (0, 1, None),
        ),
        ("u,a\nv,b\n", {"user_column": "1", "item_column": "2"}, False, (0, 1, None)),
        (
            "u,a\nv,b\n",
            {"user_column": "2", "item_column": "1", "header": True},
            True,
            (1, 0, None),
        ),
        ("a,b\n1,2\n", {"user_column": "b", "item_column": "a"}, True, (1, 0, None)),
        (
            "0,1\n5,6\n",
            {"user_column": "0", "item_column": "1", "header": True},
            True,
            (0, 1, None),
        ),
        ("user_id,item_id\n1,2\n", {}, True, (0, 1, None)),
        ("1,2\n3,4\n", {"header": False}, False, (0, 1, None)),
        ("user_id,item_id\na,b\n", {"header": False}, False, (0, 1, None)),
        ("u1,i1,2014-04-07T10:51:09Z\n", {}, False, (0, 1, 2)),
        ("B00005N7P0,A3R5OBKS7OM2IR,5.0,1370000000\n", {}, False, (1, 0, 3)),
    ],
)
def test_headers_and_places(text, given, header, columns):
    found = detect(text, **given)
    assert found.header == header
    assert (found.columns.user, found.columns.item, found.columns.time) == columns
    assert found.header_guessed == ("header" not in given)
    assert found.dialect.skip_lines == int(header)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2014-04-07T10:51:09Z,214,0\n2,2014-04-07T10:54:09Z,215,0\n", "--item-column 3"),
        ("0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847\n", "--item-column 5 --time-column 2"),
        ("2014-04-07,u1,i1\n", "--user-column 2 --item-column 3 --time-column 1"),
        ("u1,1400000000,i1\nu2,1400000001,i2\n", "--user-column 1 --item-column 3 --time-column 2"),
        (
            "u1,1400000000,1500000001\nu2,1400000001,1500000002\n",
            "column 2, in the place of the items",
        ),
        ("1400000000000,u1,i1\n", "--time-column 1"),
        ("u1,20240101,i1\nu2,20240102,i2\n", "--time-column 2"),
        ("u1,2024/01/02 10:00,i1\n", "--time-column 2"),
        ("u1,20240101T101010Z,i1\n", "--time-column 2"),
    ],
)
def test_times_in_the_place_of_users_or_items_are_refused(text, words):
    with pytest.raises(UserError, match=words):
        detect(text, "tsv" if "\t" in text else "csv")


@pytest.mark.parametrize("text", ["7,1400000001,5.0\n", "1400000001,7,1500000000\n"])
def test_identifiers_of_ten_digits(text):
    """A single column that may hold times is taken for it; the last of several, if all agree."""
    if text.startswith("7"):
        with pytest.raises(UserError, match="seems to hold times"):
            detect(text)
    else:
        assert detect(text).columns == Columns(0, 1, 2)


@pytest.mark.parametrize(
    ("text", "text_format", "delimiter", "quoting", "width"),
    [
        ("session|item|'; DROP; --\n1|2|3\n4|5|6\n", "csv", "|", True, 3),
        ("user_id,item_id,time\n1,2,3\n", "ader", ",", False, 3),
        ("0\t2010-10-19\t30.2\n1\t\t30.3\n", "ader", "\t", False, 3),
        ("1 2\n3  4\n", "ader", " ", False, 2),
        ('user_id\tname\titem_id\n1\t"Weird Al"\t2\n2\t5" disk\t3\n', "tsv", "\t", False, 3),
        ('user_id\tname\titem_id\n1\t"say ""hi"""\t2\n', "tsv", "\t", True, 3),
        ('"user_id"\t"item_id"\n"1"\t"2"\n"3"\t"4"\n', "tsv", "\t", True, 2),
        ('user_id\titem_id\n1\t"a\tb"\n2\tc\n', "tsv", "\t", True, 2),
        ('user_id\titem_id\n1\t2\n"3"\t"4"\n', "tsv", "\t", True, 2),
        ('"user_id"\t"note"\n"1"\t"a, b\n\tc"\n"2"\t""\n', "ader", "\t", True, 2),
        ('"a, b";user_id;item_id\n"c";1;2\n', "csv", ";", True, 3),
        ('user_id,"note, more",item_id\n1,"two\nlines",2\n', "csv", ",", True, 3),
        ("1::2::3\n", "dat", "::", False, 3),
    ],
)
def test_separators_and_quotes(text, text_format, delimiter, quoting, width):
    given = {"user_column": "1", "item_column": "2"}
    dialect = detect(text, text_format, **given).dialect
    assert (dialect.delimiter.decode(), dialect.num_columns) == (delimiter, width)
    if text_format != "ader":
        assert dialect.quoting == quoting


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("user_id, item_id\n1, 2\n3, 4\n", True),
        ('user_id, item_id\n1, "a"\n', True),
        ("user_id,item_id\n1,2\n3, 4\n", False),
    ],
)
def test_blanks_after_separators(text, spaced):
    found = detect(text)
    assert (found.dialect.spaced, found.names) == (spaced, ("user_id", "item_id"))


def test_a_header_of_two_lines_is_skipped_whole():
    found = detect('user_id,item_id,"long\nname"\n1,2,3\n')
    assert (found.dialect.skip_lines, found.dialect.num_columns) == (2, 3)


def test_a_line_that_the_head_cuts_is_left_out():
    text = "user_id,item_id\n" + "1,2\n" * (HEAD_BYTES // 4)
    assert detect(text[:HEAD_BYTES]).columns == Columns(0, 1, None)


def test_a_column_that_seems_to_hold_times_is_named():
    assert detect("user_id,item_id,seen\n1,2,2024-01-31\n").hint == "seen"
    assert detect("user_id,item_id,seen\n1,2,3\n").hint is None


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("1\tu\tN5 N42\nx\tv\tN7 N8\n", True),
        ("1\tu\tN5,N42\nx\tv\tN7,N8\n", True),
        ("1\tu\t5 42\nx\tv\t7\n", False),
        ("1\tu\t3,5\nx\tv\t4,5\n", False),
        ("1\tu\t2014-12-06 02\nx\tv\t2014-12-06 03\n", False),
        ("1\tu\tHalf-Life 2\nx\tv\tPortal 2\n", False),
    ],
)
def test_columns_of_lists_are_refused(text, is_list):
    if is_list:
        with pytest.raises(UserError, match="column 3 holds lists"):
            detect(text, "tsv")
    else:
        detect(text, "tsv")


def test_columns_without_values_are_guessed_last():
    assert detect("session,user,item\n1,NA,3\n2,NA,4\n").columns.user == 0
    assert detect("user,item\nNA,3\nNA,4\n").columns.user == 0


def test_a_header_of_unknown_names_is_refused_in_every_format():
    for text_format in ("csv", "tsv", "ader"):
        with pytest.raises(UserError, match="no user column among customer_number"):
            detect("customer_number,article_code\n17,4711\n", text_format)
    assert not detect("a b\nc d\n", "ader").header
