"""Reader of logs in delimited text, in all its formats."""

from pathlib import Path

from perennial.storage.base import Progress
from perennial.storage.reading.delimited_text.dialects import HEAD_BYTES, detect_layout
from perennial.storage.reading.delimited_text.encodings import detect_encoding, transcode, unpacked
from perennial.storage.reading.delimited_text.parsing import read_text
from perennial.storage.reading.layout import (
    FileLayout,
    RawFile,
    describe_guesses,
    shown_names,
    shown_rating,
)
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.settings import IngestSettings


def read_delimited(
    path: Path, settings: IngestSettings, progress: Progress, budget: Budget, *, text_format: str
) -> RawFile:
    """Read a log.

    Args:
        path: the file.
        settings: columns and what else the user gave.
        progress: called with the bytes of the file read so far.
        budget: memory for the rows.
        text_format: one of `perennial.storage.reading.formats.FORMATS` that is delimited text.

    Raises:
        UserError: the columns cannot be found, or the rows take too much memory.
    """
    size = path.stat().st_size
    with path.open("rb") as packed, unpacked(packed) as stream:
        encoding = detect_encoding(stream.read(HEAD_BYTES), settings)
    with path.open("rb") as packed, unpacked(packed) as stream:
        found = detect_layout(transcode(stream, encoding).read(HEAD_BYTES), settings, text_format)
    with path.open("rb") as packed, unpacked(packed) as stream:

        def report() -> None:
            progress(f"reading {path.name}", packed.tell(), size)

        utf8 = transcode(stream, encoding)
        rows = read_text(utf8, found.dialect, found.columns.places, report, budget=budget)
    users, items, times, rating, where = found.columns.split(rows.columns)
    layout = FileLayout(
        "text",
        *shown_names([found.names[place] for place in found.columns.events]),
        header=found.header,
        header_guessed=found.header_guessed,
        separator=found.dialect.delimiter.decode(),
        encoding=encoding.upper(),
        rows=rows.num_lines,
        rating=shown_rating(found.names, found.columns),
    )
    return RawFile(
        users,
        items,
        times,
        rows.lines,
        rows.rejects,
        rows.num_lines,
        typed=False,
        layout=layout,
        remarks=describe_guesses(found.names, found.columns, found.hint),
        rating=rating,
        where=where,
    )
