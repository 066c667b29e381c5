"""Titles of items, read from a file that anybody may have written."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import find_column, list_names, printable
from perennial.storage.reading.delimited_text.encodings import unpacked
from perennial.storage.reading.formats import readable_errors
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.identifiers import ITEM_FAULTS, check_exact, encode
from perennial.storage.reading.layout import name_column
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.parquet import read_named
from perennial.storage.reading.parquet_batches import is_string, plain_type
from perennial.storage.reading.rejects import LONGEST_ID, Fault
from perennial.storage.reading.settings import ITEM_NAMES

TITLE_NAMES = (
    "title", "itemtitle", "movietitle", "producttitle", "booktitle", "tracktitle", "songtitle",
    "primarytitle", "name", "itemname", "moviename", "productname", "bookname", "trackname",
    "songname", "artistname", "description",
)  # fmt: skip

MAX_TITLES = 5_000_000
MAX_TITLE = 300
"""Characters of a title; longer titles are cut."""
MAX_IDENTIFIER = 1000
_MAX_LINE = 1 << 20
_MAX_TEXT = 1 << 30
_NAME_ITEMS = "is this the column of the identifiers? name it with --item-column"
_JOINERS = "\u200c\u200d"
"""Invisible signs that join the letters of some scripts."""


@dataclass(frozen=True)
class TitlesFile:
    """Titles of a file, and numbers of rows left out.

    Attributes:
        titles: identifier, as `canonical` text -> title; the last one of an item that occurs twice.
        repeated: rows whose item had a title already.
        empty: rows without an item or a title.
        cut: titles that were too long.
    """

    titles: dict[str, str]
    repeated: int
    empty: int
    cut: int


def read_titles_file(
    path: Path, item_column: str | None = None, title_column: str | None = None
) -> TitlesFile:
    """Read a Parquet file, or text with a header line: CSV, TSV, with `;` or `|`, gzip too.

    MovieLens' `movies.dat` (`id::title::genres`, no header) is recognised. In any other file
    without a header the columns are named by their positions, 1 for the first. By default the
    columns are guessed from usual names.

    Raises:
        UserError: the file cannot be read, its columns cannot be found, or it is too large.
    """
    with readable_errors(path):
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        rows = (_parquet_rows if is_parquet else _text_rows)(path, item_column, title_column)
        try:
            return _collect(rows)
        except UnicodeDecodeError:
            raise UserError("not written in UTF-8; save it as UTF-8") from None


def clean_title(text: str) -> str:
    """Return one line without control characters, cut to `MAX_TITLE` characters."""
    # Cut before the slow part: the result cannot be longer than this.
    signs = (" " if sign.isspace() else sign for sign in text[: 20 * MAX_TITLE])
    kept = "".join(sign for sign in signs if sign.isprintable() or sign in _JOINERS)
    plain = " ".join(kept.split())
    return plain if len(plain) <= MAX_TITLE else plain[: MAX_TITLE - 1].rstrip() + "…"


def _collect(rows: Iterator[tuple[str, str]]) -> TitlesFile:
    titles: dict[str, str] = {}
    repeated = empty = cut = 0
    for item, text in rows:
        title, item = clean_title(text), canonical(item)
        if not item or not title:
            empty += 1
            continue
        if len(item) > MAX_IDENTIFIER:
            raise UserError(
                f"an item of {len(item):,} characters ({printable(item, 40)}...); {_NAME_ITEMS}"
            )
        repeated += item in titles
        cut += len(title) == MAX_TITLE and title.endswith("…")
        titles[item] = title
        if len(titles) > MAX_TITLES:
            raise UserError(f"more than {MAX_TITLES:,} titles; leave out items nobody meets")
    if not titles:
        raise UserError("no titles in it")
    return TitlesFile(titles, repeated, empty, cut)


def _find(names: Sequence[str], item: str | None, title: str | None) -> tuple[int, int]:
    """Find the positions of the two columns."""
    places = {
        "item": find_column(names, item, (*ITEM_NAMES, "id"), "item"),
        "title": find_column(names, title, TITLE_NAMES, "title"),
    }
    for what, place in places.items():
        if place is None:
            raise UserError(
                f"no {what} column among {list_names(names)}; name it with --{what}-column"
            )
    if places["item"] is None or places["title"] is None or places["item"] == places["title"]:
        raise UserError("item and title must be different columns; name others")
    return places["item"], places["title"]


def _parquet_rows(path: Path, item: str | None, title: str | None) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
    if num_rows > 2 * MAX_TITLES:
        raise UserError(f"{num_rows:,} rows are too many; give a file with one row per item")
    names = [schema.names[place] for place in _find(schema.names, item, title)]
    for name, what in zip(names, ("items", "titles"), strict=True):
        kind = plain_type(schema.field(name).type)
        if pa.types.is_nested(kind) or (what == "titles" and not is_string(kind)):
            raise UserError(f"column '{printable(name, 40)}' of type {kind} cannot hold {what}")
    (ids, texts), _ = read_named(path, dict.fromkeys(names, np.dtype(np.int32)), Budget())
    with name_column(names[0]):
        items = encode(ids, ITEM_FAULTS, typed=True)
        check_exact(ids, items.faults)
    faults = np.zeros(num_rows, np.uint8) if items.faults is None else items.faults
    if (faults == Fault.LONG_ITEM).any():
        raise UserError(f"an item of more than {LONGEST_ID:,} bytes; {_NAME_ITEMS}")
    by_code = items.ids.to_pylist()
    chosen = zip(items.codes.tolist(), faults.tolist(), strict=True)
    yield from zip(
        ("" if fault else by_code[code] for code, fault in chosen), _texts(texts), strict=True
    )


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the texts of dictionaries, cut to what a title is made of; nulls are empty."""
    for chunk in column.chunks:
        distinct = [
            "" if text is None else text[: 20 * MAX_TITLE] for text in chunk.dictionary.to_pylist()
        ]
        for place in chunk.indices.to_pylist():
            yield "" if place is None else distinct[place]


def _text_rows(path: Path, item: str | None, title: str | None) -> Iterator[tuple[str, str]]:
    with _open_text(path, "latin-1") as text:
        first = next(_lines(text), "")
    if "::" in first:
        yield from _movielens_rows(path, item, title)
        return
    with _open_text(path, "utf-8-sig") as text:
        yield from _delimited_rows(_lines(text), _delimiter(first), item, title)


def _delimiter(line: str) -> str:
    return max(",\t;|", key=line.count)


def _delimited_rows(
    lines: Iterator[str], delimiter: str, item: str | None, title: str | None
) -> Iterator[tuple[str, str]]:
    rows: Iterator[list[str]] = csv.reader(lines, delimiter=delimiter)
    names = [name.strip() for name in next(rows, [])]
    if _are_places(names, item, title):
        names, rows = _places(names), chain([names], rows)
    places = _find(names, item, title)
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) <= max(places):
            raise UserError(f"row {number:,} has {len(row)} columns, the first has {len(names)}")
        yield row[places[0]].strip(), row[places[1]]


def _movielens_rows(path: Path, item: str | None, title: str | None) -> Iterator[tuple[str, str]]:
    try:
        with _open_text(path, "utf-8-sig") as text:
            rows = list(_rows_without_header(_lines(text), item, title))
    except UnicodeDecodeError:
        # MovieLens' own files are in Latin-1.
        with _open_text(path, "latin-1") as text:
            rows = list(_rows_without_header(_lines(text), item, title))
    yield from rows


def _rows_without_header(
    lines: Iterator[str], item: str | None, title: str | None
) -> Iterator[tuple[str, str]]:
    """Read fields between `::`, without a header."""
    places: tuple[int, int] | None = None
    for number, line in enumerate(lines, start=1):
        row = line.rstrip("\r\n").split("::")
        if row == [""]:
            continue
        if places is None:
            places = _find(_places(row), item or "1", title or "2")
        if len(row) <= max(places):
            raise UserError(f"line {number:,} has no title after its ::")
        yield row[places[0]].strip(), row[places[1]]


def _places(row: Sequence[str]) -> list[str]:
    """Return positions as names of columns that have none: 1 for the first."""
    return [str(place) for place in range(1, len(row) + 1)]


def _are_places(names: Sequence[str], item: str | None, title: str | None) -> bool:
    """Return True if columns are named by position, and the first record has no usual names."""
    given = [one for one in (item, title) if one is not None and one.isdecimal()]
    usual = (find_column(names, None, known, "item") for known in (ITEM_NAMES, TITLE_NAMES))
    return len(given) == 2 and all(place is None for place in usual)


def _lines(text: TextIO) -> Iterator[str]:
    """Yield lines of bounded length, no more than `_MAX_TEXT` characters in all."""
    left = _MAX_TEXT
    while line := text.readline(_MAX_LINE):
        left -= len(line)
        if len(line) == _MAX_LINE or left < 0:
            raise UserError("a line or the whole of it is too long; is it a table of titles?")
        yield line


@contextmanager
def _open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    with path.open("rb") as packed, unpacked(packed) as stream:
        yield io.TextIOWrapper(stream, encoding=encoding, newline="")
