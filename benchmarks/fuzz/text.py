"""Drawing delimited text whose good rows are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from benchmarks.fuzz.case import FuzzCase, Pairs
from perennial.storage.reading.settings import IngestSettings

# Sound, every one of them: an identifier is text, and what it looks like means nothing.
STRANGE_IDS = (
    "'; DROP TABLE users; --", '"; DELETE FROM items; --', "1 OR 1=1", "Robert'); --",
    "../../etc/passwd",
    "..\\..\\windows\\system32", "/dev/null", "C:\\CON", "file:///etc/passwd", "~root", "$(reboot)",
    "`id`", "%s%n%x", "{0.__class__}", "${jndi:ldap://x}", "<script>alert(1)</script>", "&lt;b&gt;",
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1", "-1+2", '=HYPERLINK("x")', "a\0b", "\0", "\x01\x02",
    "\x7f", "\x1b[31mred", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b", "a\u2028b", "\u202egnp.exe",
    "\ufeffa", "é", "e\u0301", "ﬃ", "İ", "ß", "🦆", "👩‍👩‍👧", "𝔘", "٣٤", "９", "²",
    "0x10", "1e5", "1.0", "007",
    "-0", "+7", "-", "_", "nil", "None", "NULLs", "undefined", "true", "inf", "1_000", "1,5", "a;b",
    "a|b", "a\tb", "a::b", ":", 'say "hi"', '"', '""', "'", " a", "a ", "a b", "\\N\\N", "\\", "#",
    "x" * 5000,
    "2020-01-01", "user_id", "item_id", str(2**31), str(2**63), str(-(2**63) - 1), "9" * 40,
)  # fmt: skip
_HEADERS = (
    ("user_id", "item_id", "timestamp"), ("userId", "movieId", "ts"), ("session", "item", "time"),
    ("User-ID", "ISBN", "date"), ("uid", "iid", "createdAt"), ("customer id", "sku", "event time"),
)  # fmt: skip
_EXTRA_NAMES = (
    "rating",
    "note",
    "",
    "=1+1",
    "'; DROP TABLE items; --",
    "a\0b",
    "价格",
    "x" * 300,
    "%",
)
_MARK = "\ufeff"


@dataclass(frozen=True)
class _Style:
    """Format of a file."""

    suffix: str
    delimiter: str
    quoting: bool
    header: bool


def draw_text(rng: np.random.Generator) -> FuzzCase:
    """A text file of any format whose good rows are known."""
    style = _draw_style(rng)
    with_times = style.suffix != "ader.txt" and rng.random() < 0.85
    count = int(rng.integers(1, 40))
    users, items = (draw_ids(rng, count, style.header) for _ in range(2))
    users, items = (_writable(ids, style, with_times) for ids in (users, items))
    times = _draw_times(rng, count) if with_times else None
    rows = [list(row) for row in zip(users, items, *([times] if times else []), strict=True)]
    header = list(_HEADERS[rng.integers(len(_HEADERS))][: 3 if with_times else 2])
    if style.suffix in ("inter", "ader.txt"):
        header = ["user_id", "item_id", "timestamp"][: len(header)]
    if style.header and style.delimiter != " " and rng.random() < 0.4:
        _add_column(rng, header, rows, style)
    lines = [_join(row, style, rng) for row in ([header] if style.header else []) + rows]
    pairs: Pairs = frozenset(zip(users, items, strict=True))
    if style.header and rng.random() < 0.3:
        lines += _bad_lines(rng, style, header)
    content = _with_ends(lines, rng)
    if rng.random() < 0.1:
        content = _MARK.encode() + content
    settings = IngestSettings(max_reject_share=1.0)
    return FuzzCase(f"drawn.{style.suffix}", content, "drawn", settings, pairs, "be taken")


def _draw_style(rng: np.random.Generator) -> _Style:
    suffix = str(rng.choice(["csv", "tsv", "dat", "inter", "ader.txt"]))
    header = suffix == "inter" or rng.random() < 0.75
    if suffix == "csv":
        return _Style(suffix, str(rng.choice([",", ";", "\t", "|"])), True, header)
    if suffix == "tsv":
        return _Style(suffix, "\t", True, header)
    if suffix == "dat":
        # A header names its delimiter as any other line does.
        return _Style(suffix, str(rng.choice(["::", "\t"])), False, header)
    return _Style(suffix, "\t" if suffix == "inter" else " ", False, header)


def draw_ids(rng: np.random.Generator, count: int, strange: bool) -> list[str]:
    """Identifiers: numbers, words, or strange ones."""
    kind = rng.random()
    if not strange or kind < 0.35:
        return [str(number) for number in rng.integers(0, 10 ** rng.integers(1, 8), count)]
    if kind < 0.5:
        return [f"u{number}" for number in rng.integers(0, 50, count)]
    if kind < 0.9:
        return [STRANGE_IDS[place] for place in rng.integers(0, len(STRANGE_IDS), count)]
    return [_draw_word(rng) for _ in range(count)]


def _draw_word(rng: np.random.Generator) -> str:
    points = rng.choice([0x7F, 0x7FF, 0xD7FF, 0x10FFFF], rng.integers(1, 12))
    letters = (chr(int(rng.integers(33, point))) for point in points)
    return "w" + "".join(letter for letter in letters if not "\ud800" <= letter <= "\udfff")


def _writable(ids: Sequence[str], style: _Style, with_times: bool) -> list[str]:
    """Each identifier where the format can hold it, and its place where it cannot."""
    return [one if _fits(one, style) else f"plain{place}" for place, one in enumerate(ids)]


def _fits(value: str, style: _Style) -> bool:
    if style.quoting:
        return True
    if style.delimiter == " ":
        return len(value.split()) == 1 and value == value.strip() and value[0] != _MARK
    if style.delimiter == "::":
        # Three colons could be split in two ways, and lines may not hold what stands for two.
        return ":" not in value and "\x1f" not in value
    return style.delimiter not in value


def _draw_times(rng: np.random.Generator, count: int) -> list[str]:
    seconds = rng.integers(10**9, 2 * 10**9, count)
    kind = rng.integers(5)
    if kind < 3:
        return [str(second * 10 ** (3 * int(kind))) for second in seconds.tolist()]
    if kind == 3:
        return [f"{second}.5" for second in seconds]
    return [datetime.fromtimestamp(int(second), UTC).isoformat() for second in seconds]


def _add_column(
    rng: np.random.Generator, header: list[str], rows: list[list[str]], style: _Style
) -> None:
    place = int(rng.integers(0, len(header) + 1))
    header.insert(place, _writable([_EXTRA_NAMES[rng.integers(len(_EXTRA_NAMES))]], style, True)[0])
    for row in rows:
        row.insert(place, str(rng.integers(1, 6)))


def _join(row: Sequence[str], style: _Style, rng: np.random.Generator) -> str:
    if not style.quoting:
        return style.delimiter.join(row)
    always = rng.random() < 0.3
    special = (style.delimiter, '"', "\r")
    return style.delimiter.join(
        '"' + value.replace('"', '""') + '"'
        if always or any(c in value for c in special)
        else value
        for value in row
    )


def _bad_lines(rng: np.random.Generator, style: _Style, header: Sequence[str]) -> list[str]:
    """Lines that must be rejected; a lone surrogate stands for a byte that is no UTF-8."""
    width = len(header)
    some = [
        ["bad"] * (width + 1), ["bad"] * (width + 3), ["\udcff"] * width, ["NaN"] * width,
        ["NULL"] * width, ["\udced\udca0\udc80", *["bad"] * width],
    ]  # fmt: skip
    return [style.delimiter.join(some[place]) for place in rng.integers(0, len(some), 3)]


def _with_ends(lines: Sequence[str], rng: np.random.Generator) -> bytes:
    """The lines, each with the end of one or another system, blank ones among them."""
    ends = ["\n", "\r\n"] if rng.random() < 0.3 else ["\n"]
    blanks = rng.random() < 0.1
    text = ""
    for line, _next in pairwise([*lines, ""]):
        text += line + str(rng.choice(ends)) + ("\n" if blanks and rng.random() < 0.3 else "")
    text = text if rng.random() < 0.8 else text.rstrip("\r\n")
    return text.encode("utf-8", "surrogateescape")
