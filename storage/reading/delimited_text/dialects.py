"""Detection of a text file's dialect and columns from its format and first lines."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import (
    Columns,
    add_conditions,
    find_columns,
    find_event_columns,
    looks_like_header,
    printable,
)
from perennial.storage.reading.delimited_text.parsing import Dialect
from perennial.storage.reading.delimited_text.records import BOM, Quoting, split_records
from perennial.storage.reading.rejects import is_missing
from perennial.storage.reading.settings import FileSettings
from perennial.storage.reading.times.formats import is_moment

# Bytes of the beginning of a file, and records of it, that detection uses.
HEAD_BYTES = 1 << 16
_SAMPLE_ROWS = 100

# Identifiers that begin with the same letters; `1,5` may be a number.
_LIST = re.compile(
    r"\s*([A-Za-z]+)\d[\w-]*([ ,|]\1\d[\w-]*)+\s*|\s*\d[\w-]*([ |]\d[\w-]*)+\s*", re.ASCII
)
# ASCII only: `float` does not accept all spaces of Unicode.
_NUMBER = re.compile(r"\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?\s*", re.ASCII)
# A smaller number in a column without a name is a rating, not a time after 1973.
_LEAST_TIME = 1e8
# Stars are up to 5, points up to 10; in a column without a name larger numbers are counts.
_LARGEST_RATING = 10
# Times of the years 2001 to 2036 in seconds and ms have 10 and 13 digits, as many identifiers do.
_UNIX_TIME = re.compile(r"\s*(1\d{9}|20\d{8}|1\d{12}|20\d{11})(\.\d*)?\s*", re.ASCII)
_AMAZON_PRODUCT = re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]", re.ASCII)
_AMAZON_REVIEWER = re.compile(r"A[0-9A-Z]{9,20}", re.ASCII)


@dataclass(frozen=True)
class TextLayout:
    """Interpretation of a text file.

    Attributes:
        dialect: delimiter, quoting and width.
        columns: positions of the columns.
        names: names of all columns; "column 1" and so on without a header.
        header: True if the first record names the columns.
        header_guessed: True if `header` was guessed.
        hint: name of a column that seems to hold the times, if no time column was found.
    """

    dialect: Dialect
    columns: Columns
    names: tuple[str, ...]
    header: bool
    header_guessed: bool
    hint: str | None


def detect_layout(head: bytes, settings: FileSettings, text_format: str) -> TextLayout:
    """Detect the dialect of a text file from its head, in UTF-8, and find its columns.

    Without a header and without given columns the first column is the user and the second the item;
    the time is the last column that holds times. `text_format` is one of
    `perennial.storage.reading.formats.FORMATS`.

    Raises:
        UserError: the columns cannot be found, or the user or the item would be a column of times.
    """
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    lines = text.split("\n")
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if blank == len(lines):
        raise UserError(f"no {settings.content} in it")
    if blank == len(lines) - 1 and len(head) >= HEAD_BYTES:
        raise UserError(f"the first line is longer than {HEAD_BYTES} bytes; is it a text file?")
    # The last line may be cut.
    lines = lines[blank:-1] if len(head) >= HEAD_BYTES else lines[blank:]
    lines = [line.removesuffix("\r") for line in lines]
    if "\r" in lines[0]:
        raise UserError("a carriage return inside the first line; end lines with newlines")
    delimiter = _find_delimiter(lines[:_SAMPLE_ROWS], text_format)
    quoting = _has_quoting(lines, delimiter, text_format)
    quotes = Quoting(ord(delimiter), spaced=True) if quoting else None
    records = split_records(lines, quotes)[:_SAMPLE_ROWS]
    spaced = _has_blanks(records, delimiter, quoting)
    rows = [_split(record, delimiter, quoting, spaced) for record in records]
    rows = [row for row in rows if row]
    names = [name.strip() for name in rows[0]]
    if text_format == "inter":
        names = [name.split(":")[0] for name in names]
    header = settings.header
    if header is None:
        header = text_format == "inter" or _has_header(names, rows[1:], settings, delimiter)
    skipped = blank + (records[0].count("\n") + 1 if header else 0)
    dialect = Dialect(delimiter.encode(), len(names), quoting, skipped, spaced)
    places = [str(place + 1) for place in range(len(names))]
    body = [row for row in rows[1 if header else 0 :] if len(row) == len(names)]
    if header:
        columns = find_columns(names, settings, _places(body, is_missing))
    else:
        found = _find_places(body or rows[:1], places, settings)
        columns = add_conditions(found, places, settings, _guess_rating(body, found))
    by_name = header or settings.columns
    if settings.is_log:
        _check_lists(body, columns.events if by_name else range(len(names)))
    shown = tuple(names if header else (f"column {place}" for place in places))
    hint = None if columns.time is not None else _find_times(body, columns)
    return TextLayout(
        dialect,
        columns,
        shown,
        header,
        settings.header is None,
        None if hint is None else shown[hint],
    )


def _find_delimiter(lines: Sequence[str], text_format: str) -> str:
    line = lines[0]
    if "::" in line and text_format in ("dat", "ader", "csv"):
        return "::"
    if text_format == "inter":
        return "\t"
    if text_format == "ader":
        return _find_txt_delimiter(lines)
    preferred = {"csv": ",;\t|", "tsv": "\t,;|", "dat": "\t,;|"}[text_format]
    unquoted = [re.sub(r'"[^"]*"', "", line) for line in lines]

    def agreement(delimiter: str) -> tuple[int, int]:
        """Count it in the first line, and the lines that have it equally often."""
        counts = [line.count(delimiter) for line in unquoted]
        return counts[0], counts.count(counts[0])

    return max(preferred, key=agreement)


def _find_txt_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that all lines have equally often; blanks if there is none."""
    for delimiter in "\t,;|":
        records = split_records(lines, Quoting(ord(delimiter), spaced=True))
        plain = (re.sub(r'"[^"]*"', "", record) for record in records if record.strip())
        counts = Counter(record.count(delimiter) for record in plain)
        if counts[0] == 0 and len(counts) == 1:
            return delimiter
    filled = [re.sub(r'"[^"]*"', "", line) for line in lines if line.strip()]
    return " " if len(filled[0].split()) > 1 else max(" ,;|", key=filled[0].count)


def _has_quoting(lines: Sequence[str], delimiter: str, text_format: str) -> bool:
    """Return True if '"' encloses values.

    Between tabs most writers do not quote, and a quote is a sign like any other. Those that do
    quote either all values of a column or of a line, or double the quotes inside a value, or have
    separators inside quotes.
    """
    if delimiter in ("::", " ") or text_format in ("inter", "dat"):
        return False
    if delimiter != "\t" or text_format == "csv":
        return True
    filled = [line for line in lines if line.strip()]
    quoted = [line for line in filled if '"' in line]
    if not quoted:
        return False
    literal = Counter(line.count("\t") for line in filled)
    records = split_records(filled, Quoting(ord(delimiter), spaced=False))
    rows = [_split(record, delimiter, quoting=True, spaced=False) for record in records]
    if len(literal) > 1 and len({len(row) for row in rows}) == 1:
        return True
    if any(re.search(r'(^|\t)"([^"\t]|"")*""([^"\t]|"")*"(\t|$)', line) for line in quoted):
        return True
    values = [line.split("\t") for line in filled[1:] or filled]
    parts = (*values, *zip(*values, strict=False))
    return any(all(re.fullmatch(r'"[^"]*"', value) for value in part) for part in parts)


def _has_blanks(records: Sequence[str], delimiter: str, quoting: bool) -> bool:
    """Return True if blanks follow the delimiters, as in `1, 2, 3`."""
    if delimiter in ("::", " "):
        return False
    if quoting and any(f'{delimiter} "' in record for record in records):
        return True
    body = [record for record in records if record.strip()]
    return all(f"{delimiter} " in record for record in body[1:] or body)


def _split(record: str, delimiter: str, quoting: bool, spaced: bool) -> list[str]:
    if delimiter == " ":
        return record.split()
    if quoting and '"' in record:
        rows = csv.reader([record], delimiter=delimiter, skipinitialspace=spaced)
        return next(rows, [])
    return record.split(delimiter) if record.strip() else []


def _has_header(
    names: Sequence[str], rows: Sequence[Sequence[str]], settings: FileSettings, delimiter: str
) -> bool:
    """Guess whether the first record names the columns.

    It does if it holds usual or given names. If columns are given by position, it does if some
    column holds numbers or dates, but not in the first record. Otherwise it does if nothing in it
    is a number or a date, but between blanks, as ADER writes: a header of unknown names must not
    become an event.
    """
    if looks_like_header(names, settings.roles):
        return True
    if any(not name.isdecimal() for name in (*settings.columns, *settings.conditions)):
        return True
    if settings.columns:
        same = [row for row in rows if len(row) == len(names)]
        return any(
            not _is_value(name) and same and all(_is_value(row[place]) for row in same)
            for place, name in enumerate(names)
        )
    if delimiter == " ":
        return False
    return not any(_is_value(name) for name in names)


def _is_value(text: str) -> bool:
    """Return True for a number or a date."""
    return bool(_NUMBER.fullmatch(text)) or is_moment(text)


def _find_places(
    rows: Sequence[Sequence[str]], places: Sequence[str], settings: FileSettings
) -> Columns:
    """Find the columns of a file without a header; guess them if none in it is given."""
    if settings.columns or settings.user_column or settings.item_column:
        return find_event_columns(places, settings)
    if len(rows[0]) < 2:
        needed = " and one of ".join(f"{role.what}s" for role in settings.roles[:2])
        raise UserError(f"a line needs a column of {needed}; name the format if it is another one")
    if not settings.is_log:
        columns = enumerate(zip(*rows, strict=True))
        texts = (place for place, values in columns if place and not all(map(_is_value, values)))
        return Columns(0, next(texts, 1), None)
    found = _guess_columns(rows)
    if settings.time_column is None:
        return found
    named = replace(settings, user_column=str(found.user + 1), item_column=str(found.item + 1))
    return find_event_columns(places, named)


def _guess_columns(rows: Sequence[Sequence[str]]) -> Columns:
    """Guess the columns of a file without a header; `UserError` if the first two may hold times."""
    dated = _places(rows, is_moment)
    unix = [] if dated else _places(rows, _UNIX_TIME.fullmatch)
    first = next((place for place in (*dated, *unix) if place < 2), None)
    # Identifiers may look like Unix times, but only one column after the first does both.
    if first is not None and (first in dated or first == 1 or len(unix) == 1):
        raise UserError(_describe_misplaced(rows, first))
    time = next((place for place in reversed(_places(rows, _is_time)) if place > 1), None)
    if _AMAZON_PRODUCT.fullmatch(rows[0][0]) and _AMAZON_REVIEWER.fullmatch(rows[0][1]):
        return Columns(1, 0, time)
    return Columns(0, 1, time)


def _describe_misplaced(rows: Sequence[Sequence[str]], time: int) -> str:
    """Describe a column of times in place of users or items, with options that may be right."""
    others = [place for place in range(len(rows[0])) if place != time]
    whole = [place for place in others if not any("." in row[place] for row in rows)] or others
    user, item = (whole[0], whole[1]) if len(whole) > 1 else (others[0], others[-1])
    example = f"--user-column {user + 1} --item-column {item + 1} --time-column {time + 1}"
    return (
        f"column {time + 1}, in the place of the {('users', 'items')[time]}, seems to hold times "
        f"({printable(rows[0][time], 40)}): give the columns by their positions, 1 for the first, "
        f"such as {example}"
    )


def _check_lists(rows: Sequence[Sequence[str]], places: Iterable[int]) -> None:
    """Raise a `UserError` if a column holds lists."""
    lists = _places(rows, lambda text: _LIST.fullmatch(text) and not is_moment(text))
    for place in places:
        if place in lists:
            example = next(row[place] for row in rows if _LIST.fullmatch(row[place]))
            raise UserError(
                f"column {place + 1} holds lists ({printable(example, 40)}), and a line is one "
                "interaction: write a line for each item, or name other columns with "
                "--user-column, --item-column and --time-column"
            )


def _find_times(rows: Sequence[Sequence[str]], columns: Columns) -> int | None:
    """Return the position of a column that nobody named and that seems to hold times."""
    found = (place for place in _places(rows, _is_time) if place not in columns.events)
    return next(found, None)


def _guess_rating(rows: Sequence[Sequence[str]], columns: Columns) -> int | None:
    """Return the position of the third column, if it holds small numbers and is no other."""
    if not rows or len(rows[0]) < 3 or 2 in columns.events:
        return None
    filled = [row[2] for row in rows if row[2].strip()]
    return 2 if filled and all(_is_rating(value) for value in filled) else None


def _places(rows: Sequence[Sequence[str]], test: Callable[[str], object]) -> list[int]:
    """Return the columns in which more than half of the values pass a test."""
    return [
        place
        for place in range(len(rows[0]) if rows else 0)
        if sum(bool(test(row[place])) for row in rows) * 2 > len(rows)
    ]


def _is_rating(value: str) -> bool:
    return bool(_NUMBER.fullmatch(value)) and abs(float(value)) <= _LARGEST_RATING


def _is_time(value: str) -> bool:
    return is_moment(value) or bool(_NUMBER.fullmatch(value) and float(value) >= _LEAST_TIME)
