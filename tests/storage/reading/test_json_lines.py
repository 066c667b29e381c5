"""JSON lines are read line by line, at the top or on a path, and bad ones are counted."""

import gzip
import json

import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.formats import read_file
from perennial.storage.reading.json_lines import reader
from perennial.storage.reading.settings import IngestSettings

LINE = '{"user_id": "u", "item_id": "i", "timestamp": 1}\n'
OTTO = (
    '{"session": 1, "events": [{"aid": 5, "ts": 1661724000278}, {"aid": 6, "ts": 1661724000279}]}\n'
    '{"session": 2, "events": []}\n{"session": 3, "events": [{"aid": 7, "ts": 1661724000280}]}\n'
)


def read(path, **choice):
    return read_file(path, IngestSettings(**choice))


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.json.gz", "a.log"])
def test_objects_are_rows(write, name):
    content = f"\ufeff{LINE}\n\r\n  {LINE}".replace('"i"', '"i", "style": {"Size:": " 5"}').encode()
    path = write(name, gzip.compress(content) if name.endswith("gz") else content)
    raw = read(path, format="jsonl" if name == "a.log" else None)
    assert (raw.users.to_pylist(), raw.times.to_pylist()) == (["u", "u"], ["1", "1"])
    assert raw.line_numbers().tolist() == [1, 4]
    assert (raw.layout.user, raw.layout.time, raw.num_lines) == ("user_id", "timestamp", 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9007199254740993", "9007199254740993"),
        (str(10**40), str(10**40)),
        ('"007"', "007"),
        ("1.0", "1.0"),
        *((text, "1000") for text in ("1e3", "1.0e3", "10E2", "1E+3", "10000e-1", "0.01e5")),
        ("-1.5e1", "-15"),
        ("-0e0", "0"),
        ("9007199254740991e0", "9007199254740991"),
        ('"1e3"', "1e3"),
        *((text, text) for text in ("1.5", "15e-1", "1e-400", f"1e-{'9' * 5000}")),
        ("null", ""),
        ("true", "true"),
        ('"a\\u0000b"', "a\0b"),
        ('"\\ud83e\\udd86"', "🦆"),
        ('"x", "user_id": "y"', "y"),
    ],
)
def test_values_keep_their_text(write, value, text):
    assert read(write("a.jsonl", LINE.replace('"u"', value))).users.to_pylist() == [text]


@pytest.mark.parametrize("number", ["9007199254740992e0", "1e16", "-1.2E+300", f"1e{'9' * 5000}"])
def test_exponents_beyond_the_exact_range_are_refused_in_identifiers(write, number):
    for name in ('"u"', '"i"'):
        with pytest.raises(UserError, match="line 2: an identifier with an exponent"):
            read(write("a.jsonl", LINE + LINE.replace(name, number)))
    assert read(write("a.jsonl", LINE.replace("1}", f"{number}}}"))).times.to_pylist() == [number]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "not a JSON object"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"user_id": "a\0b"}', "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"a":' * 100_000, "not a JSON object"),
        (LINE.replace("u", "\u00fc").encode("latin-1").strip(), "invalid UTF-8"),
        (LINE.replace('"u"', '"\\ud83e"').encode().strip(), "invalid UTF-8"),
        *(
            (LINE.replace('"u"', value).encode().strip(), "a list or an object in place of a value")
            for value in ("[1]", '{"id": 1}')
        ),
    ],
)
def test_bad_lines_are_rejected_with_their_number(write, bad, reason):
    raw = read(write("a.jsonl", LINE.encode() * 2 + bad + b"\n" + LINE.encode()))
    assert (raw.rejects.lines.tolist(), raw.rejects.counts()) == ([3], {reason: 1})
    assert raw.line_numbers().tolist() == [1, 2, 4]


def test_columns_that_decide_which_rows_count_are_read(write):
    lines = "".join(
        json.dumps({"user": user, "item": 1, "stars": stars, "style": {"size": size}}) + "\n"
        for user, stars, size in [(1, 5, "L"), (2, 3, "L"), (3, 4.5, True), (4, None, "L")]
    )
    raw = read(write("a.jsonl", lines), min_rating=4, where=(("style.size", ("L", "true")),))
    assert raw.users.to_pylist() == ["1", "3"]


class TestPaths:
    def test_in_a_list_give_a_row_for_each_element(self, write):
        path = write("a.jsonl", OTTO)
        raw = read(path, item_column="events.aid", time_column="events.ts")
        assert raw.users.to_pylist() == ["1", "1", "3"]
        assert raw.items.to_pylist() == ["5", "6", "7"]
        assert raw.line_numbers().tolist() == [1, 1, 3]

    def test_without_times_keep_the_order_of_the_elements(self, write):
        raw = read(write("a.jsonl", OTTO), item_column="events.aid")
        assert raw.order().tolist() == [1, 2, 3]
        assert "does column 'events.ts' hold the times?" in raw.remarks[0]

    def test_in_an_object_and_in_a_list_of_values(self, write):
        line = json.dumps({"who": {"id": "u"}, "items": [3, 4]})
        raw = read(write("a.jsonl", line), user_column="who.id", item_column="items[]")
        assert (raw.users.to_pylist(), raw.items.to_pylist()) == (["u", "u"], ["3", "4"])

    @pytest.mark.parametrize(
        ("choice", "words"),
        [
            ({}, "give --item-column 'events.aid' --time-column 'events.ts'"),
            ({"item_column": "events"}, "no column 'events' .* events.aid, events.ts"),
        ],
    )
    def test_are_named_where_none_is_given(self, write, choice, words):
        with pytest.raises(UserError, match=words):
            read(write("a.jsonl", OTTO), **choice)

    def test_of_several_lists_are_refused(self, write):
        line = '{"user": 1, "a": [{"item": 1}], "b": [{"time": 1}]}'
        with pytest.raises(UserError, match="in several lists"):
            read(write("a.jsonl", line), item_column="a.item", time_column="b.time")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{u'username': u'Chaos', u'product_id': u'1'}\n", "its lines are Python dictionaries"),
        ("{'user_id': '1', 'items': []}\n", "its lines are Python dictionaries"),
        (f"[{LINE}]", "it is one array"),
        ('{\n"user_id": 1\n}\n', "its first lines are no JSON objects"),
        ("\n \n", "no interactions in it"),
        ("x" * (5 << 20), "a line is longer than"),
    ],
)
def test_other_files_are_refused_in_a_line(write, content, words):
    with pytest.raises(UserError, match=words) as refused:
        read(write("a.json", content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("block_bytes", [1 << 10, reader.BLOCK_BYTES])
@pytest.mark.parametrize("rows", [99, 150, 2000])
@pytest.mark.parametrize("column", [None, "timestamp", "seen.at"])
def test_a_column_that_appears_late_is_found(write, monkeypatch, rows, column, block_bytes):
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    late = LINE.replace("}", ', "seen": {"at": 2}}')
    path = write("a.jsonl", ('{"user_id": "u", "item_id": "i"}\n' * rows + late).encode())
    times = read(path, time_column=column).times.to_pylist()
    assert times == [*[""] * rows, "2" if column == "seen.at" else "1"]


@pytest.mark.parametrize(
    "choice",
    [
        {"where": (("event", ("buy",)),)},
        {"where": (("event", ("buy",)), ("to.land", ("de",)))},
        {"min_rating": 4},
        {"min_rating": 4, "rating_column": "to.points"},
    ],
    ids=str,
)
def test_a_column_of_a_condition_may_appear_late(write, choice):
    late = LINE.replace("}", ', "event": "buy", "rating": 5, "to": {"land": "de", "points": 4}}')
    raw = read(write("a.jsonl", (LINE + "\n") * 150 + late), **choice)
    assert (len(raw.users), raw.layout.filtered) == (1, 150)


def test_a_file_without_times_is_parsed_once(write, monkeypatch):
    parsed = []
    parse = reader._parse
    monkeypatch.setattr(reader, "_parse", lambda line: parsed.append(line) or parse(line))
    raw = read(write("a.jsonl", '{"user_id": "u", "item_id": "i"}\n' * 500))
    assert (raw.times, len(raw.users)) == (None, 500)
    assert len(parsed) == 500 + reader._SAMPLE_ROWS
