"""Reader of logs in JSON lines: one object a line."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.reading.columns import find_column, find_columns, printable
from perennial.storage.reading.delimited_text.encodings import (
    ByteStream,
    detect_encoding,
    transcode,
    unpacked,
)
from perennial.storage.reading.delimited_text.records import read_lines
from perennial.storage.reading.identifier_forms import (
    LARGEST_JSON_INTEGER,
    InexactNumber,
    write_number,
)
from perennial.storage.reading.json_lines.paths import Path as Keys
from perennial.storage.reading.json_lines.paths import Rows, Unfit, check_depth, collect_paths
from perennial.storage.reading.layout import RawFile, make_raw_file
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.rejects import Fault, Rejects
from perennial.storage.reading.settings import TIME_NAMES, FileSettings

# Values of one long line may take twenty times its bytes while it is read.
BLOCK_BYTES = 1 << 22
_HEAD_BYTES = 1 << 10
_SAMPLE_ROWS = 100
_PYTHON = re.compile(rb"""\{\s*u?'|\{\s*u\"""")
# Numbers keep their text: an identifier may have more digits than a float.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=write_number, parse_constant=lambda _: "NaN")


def read_json_lines(
    path: Path, settings: FileSettings, progress: Progress, budget: Budget
) -> RawFile:
    """Read a log as a `Reader`; a column in a list, such as `events.aid`, gives rows."""
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        encoding = detect_encoding(stream.read(_HEAD_BYTES), settings)
    with path.open("rb") as packed, unpacked(packed) as stream:
        paths = _find_paths(transcode(stream, encoding), settings)
    hint = check_depth(paths, settings)
    found = find_columns(list(paths), settings)
    chunks: dict[int, list[pa.Array]] = {place: [] for place in found.inside}
    rows = _find_rows(paths, chunks)
    identifiers = (found.user, found.item) if settings.is_log else (found.user,)
    num_identifiers = sum(place >= 0 for place in identifiers)
    known = {str(keys[0]) for keys in paths.values()}
    numbers, rejects, first_line = [np.zeros(0, np.int64)], [], 1
    with path.open("rb") as packed, unpacked(packed) as stream:
        for block in read_lines(transcode(stream, encoding), BLOCK_BYTES):
            lines = list(_parse_lines(block, first_line))
            if found.time is None and settings.is_log:
                paths = _add_late_paths(lines, paths, known)
                found = replace(found, time=find_column(list(paths), None, TIME_NAMES, "time"))
                if found.time is not None:
                    # No object before this block has a time.
                    chunks[found.time] = [pa.array([""] * sum(map(len, numbers)), pa.string())]
                    rows = _find_rows(paths, chunks)
            columns, good, bad = _read_lines(lines, rows, num_identifiers)
            first_line += block.count(b"\n")
            numbers.append(good)
            rejects.append(bad)
            for chunk, column in zip(chunks.values(), columns, strict=True):
                chunk.append(column)
            kept = (*columns, good, bad.lines, bad.faults)
            budget.take(sum(part.nbytes for part in kept))
            progress(f"reading {path.name}", packed.tell(), size)
    names = list(paths)
    return make_raw_file(
        "JSON lines",
        names,
        found,
        [pa.chunked_array(chunks[place], pa.string()) for place in found.inside],
        hint,
        np.concatenate(numbers),
        Rejects.join(rejects),
        settings,
        budget,
        encoding=encoding.upper(),
    )


def _find_rows(paths: Mapping[str, Keys], places: Iterable[int]) -> Rows:
    """Find the rows that have columns at some places among the paths."""
    keys = list(paths.values())
    return Rows.find([keys[place] for place in places])


def _find_paths(stream: ByteStream, settings: FileSettings) -> dict[str, Keys]:
    """Find the paths of the first objects, and of later ones until all that are needed are found.

    Raises:
        UserError: there is no object among the first lines, or the columns lie deeper.
    """
    blocks = read_lines(stream, BLOCK_BYTES)
    lines = (line for block in blocks for line in block.split(b"\n") if line.strip())
    paths = collect_paths(_parse_sample(list(islice(lines, _SAMPLE_ROWS)), settings.content))
    check_depth(paths, settings)
    while not _has_all(paths, settings) and (more := list(islice(lines, _SAMPLE_ROWS))):
        paths = collect_paths((one for one in map(_parse, more) if isinstance(one, dict)), paths)
    return paths


def _has_all(paths: Mapping[str, Keys], settings: FileSettings) -> bool:
    try:
        find_columns(list(paths), settings)
    except UserError:
        return False
    return True


def _add_late_paths(
    lines: Sequence["_Line"], paths: dict[str, Keys], known: set[str]
) -> dict[str, Keys]:
    """Return the paths and, after them, those of objects with unknown keys; add these keys."""
    late = [one.record for one in lines if isinstance(one.record, dict)]
    late = [record for record in late if not record.keys() <= known]
    known.update(*late)
    return collect_paths(late, paths) if late else paths


def _parse_sample(sample: Sequence[bytes], content: str) -> list[dict[str, object]]:
    """Parse the first lines of a file; raise `UserError` if none of them is an object."""
    if not sample:
        raise UserError(f"no {content} in it")
    parsed = (_parse(line) for line in sample)
    records = [record for record in parsed if isinstance(record, dict)]
    if records:
        return records
    first = sample[0].lstrip()
    shown = printable(first[:40].decode("utf-8", "replace"), 40)
    if _PYTHON.match(first):
        words = "its lines are Python dictionaries"
    elif first.startswith(b"["):
        words = "it is one array"
    else:
        words = "its first lines are no JSON objects"
    raise UserError(f"{words} ({shown}...), not JSON lines: write one JSON object on each line")


def _parse(line: bytes) -> dict[str, object] | Fault:
    try:
        record = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        return Fault.BAD_UTF8
    except (ValueError, RecursionError):
        return Fault.BAD_JSON
    return record if isinstance(record, dict) else Fault.BAD_JSON


class _Line(NamedTuple):
    """A line, from 1; its object or fault; True if it may hold half of a surrogate pair."""

    number: int
    record: dict[str, object] | Fault
    may_be_cut: bool


def _parse_lines(block: bytes, first_line: int) -> Iterator[_Line]:
    """Parse whole lines; blank ones are left out."""
    for number, line in enumerate(block.split(b"\n"), first_line):
        if line and not line.isspace():
            yield _Line(number, _parse(line), b"\\u" in line)


def _read_lines(
    lines: Sequence[_Line], rows: Rows, num_identifiers: int
) -> tuple[list[pa.Array], np.ndarray[tuple[int], np.dtype[np.int64]], Rejects]:
    """Read the rows of lines: columns, the line of each row, and bad lines.

    The first `num_identifiers` columns hold identifiers.

    Raises:
        UserError: one of them is a number that a float may not represent exactly.
    """
    good: list[Sequence[str]] = []
    numbers: list[int] = []
    bad: list[int] = []
    faults: list[int] = []
    for number, record, may_be_cut in lines:
        if isinstance(record, Fault):
            bad.append(number)
            faults.append(record)
            continue
        for row in rows.read(record):
            fault = _find_fault(row, may_be_cut)
            if isinstance(fault, Fault):
                bad.append(number)
                faults.append(fault)
            else:
                _check_numbers(fault[:num_identifiers], number)
                good.append(fault)
                numbers.append(number)
    columns = zip(*good, strict=True) if good else ([] for _ in rows.columns)
    return (
        [pa.array(column, pa.string()) for column in columns],
        np.array(numbers, np.int64),
        Rejects(np.array(bad, np.int64), np.array(faults, np.uint8)),
    )


def _check_numbers(identifiers: Sequence[str], line: int) -> None:
    for text in identifiers:
        if isinstance(text, InexactNumber):
            raise UserError(
                f"line {line:,}: an identifier with an exponent is exact up to "
                f"{LARGEST_JSON_INTEGER:,} only, and there is {printable(text, 40)}: write it "
                "as an integer or text"
            )


def _find_fault(row: Sequence[str | Unfit], may_be_cut: bool) -> Sequence[str] | Fault:
    """Return the texts of a row, or its fault; half of a surrogate pair is no UTF-8."""
    texts = [value for value in row if not isinstance(value, Unfit)]
    if len(texts) < len(row):
        return Fault.UNFIT_VALUE
    if may_be_cut and any("\ud800" <= sign <= "\udfff" for text in texts for sign in text):
        return Fault.BAD_UTF8
    return texts
