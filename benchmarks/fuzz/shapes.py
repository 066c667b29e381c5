"""Drawing logs in other shapes than plain tables, whose good rows are known."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from benchmarks.fuzz.case import FuzzCase
from benchmarks.fuzz.text import draw_ids
from perennial.storage.reading.settings import IngestSettings

Row = tuple[str, str, int]
"""User, item and time, s since 1970."""

_HEAD = ("user_id", "item_id", "timestamp")
# Words that every one of the encodings can write.
_WORDS = {
    "latin-1": ("Köster", "naïve", "ÿ", "£5"),
    "cp1252": ("œuvre", "€5", "“quoted”"),
    "gb18030": ("电影", "價格", "🦆"),
    "shift_jis": ("映画", "ソース", "表"),
    "utf-16": ("電影", "é", "🦆"),
    "utf-16-be": ("電影", "é"),
}
_DATES = {
    "%Y%m%d": None,
    "%Y-%m-%d %H:%M:%S": None,
    "%Y%m%d%H%M%S": None,
    "%a %b %d %H:%M:%S +0000 %Y": None,
    "%d/%m/%Y": "%d/%m/%Y",
    "%d.%m.%Y %H:%M": "%d.%m.%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p": "%m/%d/%Y %I:%M:%S %p",
    "%b %d, %Y": "%b %d, %Y",
}


def draw_shape(rng: np.random.Generator) -> FuzzCase:
    """A log of many rows in one of the shapes, all of them good."""
    return _SHAPES[rng.integers(len(_SHAPES))](rng)


def _draw_rows(rng: np.random.Generator, users: Sequence[str]) -> list[Row]:
    items = rng.integers(0, 1000, len(users))
    times = rng.integers(10**9, 2 * 10**9, len(users))
    return [
        (user, str(item), int(time)) for user, item, time in zip(users, items, times, strict=True)
    ]


def _draw_users(rng: np.random.Generator, words: Sequence[str]) -> list[str]:
    """Words with a number, so that none of them is a whole number or a time."""
    count = int(rng.integers(2, 40))
    return [f"{words[place]}{place}" for place in rng.integers(0, len(words), count)]


def _table(
    rows: Sequence[Row], delimiter: str = ",", time: Callable[[int], str] = str, quote: str = ""
) -> str:
    lines = [_HEAD, *((f"{quote}{user}{quote}", item, time(at)) for user, item, at in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def _case(
    suffix: str, text: str | bytes, rows: Sequence[Row], settings: IngestSettings | None = None
) -> FuzzCase:
    content = text.encode() if isinstance(text, str) else text
    pairs = frozenset((user, item) for user, item, _ in rows)
    return FuzzCase(
        f"drawn.{suffix}", content, "drawn", settings or IngestSettings(), pairs, "be taken"
    )


def _quoted_newlines(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, _draw_users(rng, ("a\nb", "\n", "x,1,2\ny,1,2\n", "plain", "c\r\nd")))
    delimiter = str(rng.choice([",", ";", "|"]))
    return _case("csv", _table(rows, delimiter, quote='"'), rows)


def _bare_quotes(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, _draw_users(rng, ('5" disk ', '"open ', 'say "hi" ', "it's ", "u")))
    return _case("tsv", _table(rows, "\t"), rows)


def _encoded(rng: np.random.Generator) -> FuzzCase:
    encoding = str(rng.choice(list(_WORDS)))
    rows = _draw_rows(rng, _draw_users(rng, _WORDS[encoding]))
    settings = IngestSettings(encoding=None if encoding == "utf-16" else encoding)
    return _case("csv", _table(rows).encode(encoding), rows, settings)


def _spaced(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, _draw_users(rng, ("u", "a b", "é")))
    return _case("csv", _table(rows, str(rng.choice([", ", ",  ", "; "]))), rows)


def _dated(rng: np.random.Generator) -> FuzzCase:
    written = str(rng.choice(list(_DATES)))
    rows = _draw_rows(rng, _draw_users(rng, ("u", "v")))
    text = _table(rows, "\t", lambda at: datetime.fromtimestamp(at, UTC).strftime(written))
    return _case("tsv", text, rows, IngestSettings(time_format=_DATES[written]))


def _json_lines(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, draw_ids(rng, int(rng.integers(1, 40)), strange=True))
    ascii_only = bool(rng.random() < 0.5)
    extra = {"note": ["[", {"user_id": None}], "a.b": "\n\0", "price": 1e-300}
    records = [{**extra, **dict(zip(_HEAD, row, strict=True))} for row in rows]
    return _case(
        str(rng.choice(["jsonl", "json", "ndjson"])),
        "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records),
        rows,
    )


def _nested_json(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, _draw_users(rng, ("s",)))
    records = [
        {"session": user, "events": [{"aid": int(item), "ts": at * 1000, "type": "clicks"}]}
        for user, item, at in rows
    ] + [{"session": "nobody", "events": []}]
    text = "".join(json.dumps(record) + "\n" for record in records)
    settings = IngestSettings(item_column="events.aid", time_column="events.ts")
    return _case("jsonl", text, rows, settings)


def _netflix(rng: np.random.Generator) -> FuzzCase:
    rows = _draw_rows(rng, [str(user) for user in rng.integers(1, 10**7, rng.integers(1, 40))])
    end = str(rng.choice(["\n", "\r\n"]))
    lines: list[str] = []
    for user, item, at in rows:
        day = datetime.fromtimestamp(at, UTC).date()
        lines += [f"{item}:", f"{user},{rng.integers(1, 6)},{day}"]
    return _case("txt", end.join(lines) + (end if rng.random() < 0.5 else ""), rows)


_SHAPES = (
    _quoted_newlines, _bare_quotes, _encoded, _spaced, _dated, _json_lines, _nested_json, _netflix,
)  # fmt: skip
