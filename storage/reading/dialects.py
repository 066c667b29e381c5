"""Detection of a text file's dialect and columns from its format and first lines."""

import csv
import re
from collections.abc import Sequence

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import ColumnChoice, Columns, find_columns, looks_like_header
from perennial.storage.reading.text import BOM, Dialect

# Bytes of the beginning of a file, and lines of it, that detection uses.
HEAD_BYTES = 1 << 16
_SAMPLE_LINES = 100

_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; name the format parquet",
    b"\x1f\x8b": "packed twice; unpack it once",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it",
    b"\xfd7zXZ\0": "packed with xz; unpack it",
    b"BZh": "packed with bzip2; unpack it",
    b"\xff\xfe": "written in UTF-16; save it as UTF-8",
    b"\xfe\xff": "written in UTF-16; save it as UTF-8",
}

# ASCII only: `float` does not accept all spaces of Unicode.
_ISO_DATE = re.compile(r"\s*\d{4}-\d{1,2}-\d{1,2}", re.ASCII)
_NUMBER = re.compile(r"\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?\s*", re.ASCII)
# A smaller number in a column without a name is a rating, not a time after 1973.
_LEAST_TIME = 1e8


def detect_dialect(head: bytes, choice: ColumnChoice, text_format: str) -> tuple[Dialect, Columns]:
    """Detect the dialect of a text file and find its columns.

    Without a header the first column is the user and the second the item; the time is the last
    column that holds times.

    Args:
        head: the first `HEAD_BYTES` of the file.
        choice: column names that the user gave; positions from 1 in a file without a header.
        text_format: one of `perennial.storage.reading.formats.FORMATS` that is text.

    Raises:
        UserError: the columns cannot be found.
    """
    _check_kind(head)
    lines = head.removeprefix(BOM).decode("utf-8", "replace").split("\n")
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if blank == len(lines):
        raise UserError("no interactions in it")
    if blank == len(lines) - 1 and len(head) >= HEAD_BYTES:
        raise UserError(f"the first line is longer than {HEAD_BYTES} bytes; is it a text file?")
    lines = [line.removesuffix("\r") for line in lines[blank : blank + _SAMPLE_LINES]]
    if "\r" in lines[0]:
        raise UserError("a carriage return inside the first line; end lines with newlines")
    delimiter = _find_delimiter(lines[0], text_format)
    quoting = text_format in ("csv", "tsv") and delimiter != "::"
    rows = [_split(line, delimiter, quoting) for line in lines if "\r" not in line]
    names = [name.strip() for name in rows[0]]
    if text_format == "inter":
        names = [name.split(":")[0] for name in names]
    dialect = Dialect(delimiter.encode(), len(names), quoting, blank)
    if _has_header(names, choice, text_format):
        dialect = Dialect(delimiter.encode(), len(names), quoting, blank + 1)
        return dialect, find_columns(names, choice)
    if choice.given:
        return dialect, find_columns([str(place + 1) for place in range(len(names))], choice)
    return dialect, _guess_columns([row for row in rows if len(row) == len(names)])


def _check_kind(head: bytes) -> None:
    """Refuse a file that is no text in UTF-8.

    Raises:
        UserError: the message says what the file is.
    """
    for magic, words in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise UserError(words)
    if len(head) >= 16 and not (head[0:16:2].strip(b"\0") and head[1:16:2].strip(b"\0")):
        raise UserError("written in UTF-16; save it as UTF-8")


def _find_delimiter(line: str, text_format: str) -> str:
    if "::" in line and text_format in ("dat", "ader", "csv"):
        return "::"
    if text_format == "inter":
        return "\t"
    if text_format == "ader":
        return " " if len(line.split()) > 1 else max(" ,;|", key=line.count)
    preferred = {"csv": ",;\t|", "tsv": "\t,;|", "dat": "\t,;|"}[text_format]
    return max(preferred, key=line.count)


def _split(line: str, delimiter: str, quoting: bool) -> list[str]:
    if delimiter == " ":
        return line.split()
    if quoting and '"' in line:
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def _has_header(names: Sequence[str], choice: ColumnChoice, text_format: str) -> bool:
    if text_format == "inter" or looks_like_header(names):
        return True
    if choice.given:
        return not all(name.isdecimal() and name not in names for name in choice.given)
    if text_format == "ader":
        return False
    # A header with unknown names must not become an event.
    return not any(_NUMBER.fullmatch(name) or _ISO_DATE.match(name) for name in names)


def _guess_columns(rows: Sequence[Sequence[str]]) -> Columns:
    width = len(rows[0])
    if width < 2:
        raise UserError("a line needs a user and an item; name the format if it is another one")
    for place in range(width - 1, 1, -1):
        if sum(_is_time(row[place]) for row in rows) * 2 > len(rows):
            return Columns(0, 1, place)
    return Columns(0, 1, None)


def _is_time(value: str) -> bool:
    if _NUMBER.fullmatch(value):
        return float(value) >= _LEAST_TIME
    return bool(_ISO_DATE.match(value))
