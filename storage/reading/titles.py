"""Titles of items, read from a file that anybody may have written."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.formats import guess_format, read_file, readable_errors
from perennial.storage.reading.identifiers import ITEM_FAULTS, check_exact, encode
from perennial.storage.reading.layout import FileLayout, RawFile, name_column
from perennial.storage.reading.parquet_batches import is_string, plain_type
from perennial.storage.reading.rejects import Fault, Rejects, check_share
from perennial.storage.reading.settings import DEFAULT_SETTINGS, TITLES_ROLES, IngestSettings

MAX_TITLES = 5_000_000
MAX_TITLE = 300
"""Characters of a title; longer titles are cut."""
MAX_IDENTIFIER = 1000
_JOINERS = "\u200c\u200d"
"""Invisible signs that join the letters of some scripts."""
_FORM = ("format", "header", "header_guessed", "separator", "encoding", "rows")


@dataclass(frozen=True)
class TitlesFile:
    """Titles of a file, and numbers of rows left out.

    Attributes:
        titles: identifier, as `canonical` text -> title; the last one of an item that occurs twice.
        repeated: number of rows whose item had a title already.
        cut: number of titles that were too long.
        rejects: bad lines.
        layout: interpretation of the file; its users are the items, and its items the titles.
        remarks: what its owner should know of that, one line each.
    """

    titles: dict[str, str]
    repeated: int
    empty: int
    cut: int
    rejects: Rejects
    layout: FileLayout
    remarks: tuple[str, ...]

    def describe(self) -> str:
        """Describe the interpretation in one line."""
        return (
            f"{self.layout.describe_form()}; item = {self.layout.user}, "
            f"title = {self.layout.item}; {self.layout.rows:,} rows"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values of the interpretation for `--json`."""
        values = asdict(self.layout)
        columns = {"item": self.layout.user, "title": self.layout.item}
        return columns | {name: values[name] for name in _FORM}


def read_titles_file(
    path: Path,
    item_column: str | None = None,
    title_column: str | None = None,
    settings: IngestSettings = DEFAULT_SETTINGS,
) -> TitlesFile:
    """Read a file of one of the formats of logs; one of an unknown suffix is Parquet or CSV.

    Text with `::` that is not in UTF-8 is in Latin-1, as MovieLens' `movies.dat` is.

    Args:
        path: the file.
        item_column: name or position of the items, 1 for the first; `None` guesses.
        title_column: name or position of the titles, as for the items.
        settings: format, header, encoding and share of bad lines.

    Raises:
        UserError: the file cannot be read, its columns cannot be found, or it is too large.
    """
    with readable_errors(path):
        settings = replace(
            settings,
            user_column=item_column,
            item_column=title_column,
            format=settings.format or _guess_format(path),
        )
    raw = read_file(path, settings, roles=TITLES_ROLES)
    is_bad = raw.layout.separator == "::" and (raw.rejects.faults == Fault.BAD_UTF8).any()
    if is_bad and settings.encoding is None:
        raw = read_file(path, replace(settings, encoding="latin-1"), roles=TITLES_ROLES)
    with readable_errors(path):
        return _collect(raw, settings.max_reject_share)


def _guess_format(path: Path) -> str:
    try:
        return guess_format(path)
    except UserError:
        with path.open("rb") as file:
            return "parquet" if file.read(4) == b"PAR1" else "csv"


def clean_title(text: str) -> str:
    """Return one line without control characters, cut to `MAX_TITLE` characters."""
    # Cut before the slow part: the result cannot be longer than this.
    signs = (" " if sign.isspace() else sign for sign in text[: 20 * MAX_TITLE])
    kept = "".join(sign for sign in signs if sign.isprintable() or sign in _JOINERS)
    plain = " ".join(kept.split())
    return plain if len(plain) <= MAX_TITLE else plain[: MAX_TITLE - 1].rstrip() + "…"


def _collect(raw: RawFile, max_reject_share: float) -> TitlesFile:
    texts = _read_texts(raw.items, raw.layout.item)
    with name_column(raw.layout.user):
        items = encode(raw.users, ITEM_FAULTS, typed=raw.typed[0])
        check_exact(raw.users, items.faults)
    faults = np.zeros(len(items.codes), np.uint8) if items.faults is None else items.faults
    is_bad = ~np.isin(faults, (Fault.NONE, Fault.NO_ITEM, Fault.NAN_ITEM))
    bad_rows = Rejects(raw.line_numbers()[is_bad], faults[is_bad])
    rejects = Rejects.join([raw.rejects, bad_rows])
    check_share(rejects, raw.num_lines, max_reject_share)
    titles: dict[str, str] = {}
    repeated = empty = cut = 0
    ids = items.ids.to_pylist()
    for code, fault, text in zip(items.codes.tolist(), faults.tolist(), texts, strict=True):
        title = clean_title(text)
        if fault or not title:
            empty += fault in (Fault.NONE, Fault.NO_ITEM, Fault.NAN_ITEM)
            continue
        item = ids[code]
        if len(item) > MAX_IDENTIFIER:
            raise UserError(
                f"an item of {len(item):,} characters ({printable(item, 40)}...); is this the "
                "column of the identifiers? name it with --item-column"
            )
        repeated += item in titles
        cut += len(title) == MAX_TITLE and title.endswith("…")
        titles[item] = title
        if len(titles) > MAX_TITLES:
            raise UserError(f"more than {MAX_TITLES:,} titles; leave out items nobody meets")
    if not titles:
        raise UserError("no titles in it")
    return TitlesFile(titles, repeated, empty, cut, rejects, raw.layout, raw.remarks)


def _read_texts(column: Column, name: str) -> Iterator[str]:
    """Return the texts of a column, cut to what a title is made of; nulls are empty."""
    chunks = [pa.array(column)] if isinstance(column, np.ndarray) else column.chunks
    kind = plain_type(chunks[0].type) if chunks else pa.string()
    if not is_string(kind):
        with name_column(name):
            raise UserError(f"type {kind} cannot hold titles; name another column")
    return (text for chunk in chunks for text in _texts(chunk))


def _texts(chunk: pa.Array) -> Iterator[str]:
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    distinct = [
        "" if text is None else text[: 20 * MAX_TITLE] for text in encoded.dictionary.to_pylist()
    ]
    return ("" if place is None else distinct[place] for place in encoded.indices.to_pylist())
