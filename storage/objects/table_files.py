"""Tables as files whose suffix names the format, local or on object storage.

Each file is written as a whole; reading one back gives the identifiers that were written.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.atomic import replacing
from perennial.storage.errors import UserError
from perennial.storage.objects.bucket import Bucket, Place, RemotePath

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 10_000
"""Rows that are text at a time."""


def write_table(table: "pa.Table", place: Place) -> None:
    """Write a table in the format of the suffix, replacing an older file as a whole.

    Raises:
        UserError: the suffix is unknown, or the file cannot be written; an older one stays.
    """
    check_suffix(place, TABLE_SUFFIXES)
    if isinstance(place, RemotePath):
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / f"table{_suffix(place)}"
            write_table(table, written)
            Bucket(place).put(written, place)
        return
    try:
        with replacing(place) as temporary:
            _WRITERS[_suffix(place)](table, temporary)
    except OSError as error:
        reason = error.strerror or "the disk refused it"
        raise UserError(f"{place}: cannot be written ({reason}); name another file") from error


def check_suffix(place: Place, suffixes: Sequence[str]) -> Place:
    """Return a file if its name ends in one of some suffixes; raise `UserError` if it does not."""
    if _suffix(place) not in suffixes:
        raise UserError(
            f"{place}: the suffix names the format, and '{_suffix(place)}' is none; choose from "
            f"{', '.join(suffixes)}"
        )
    return place


def _suffix(place: Place) -> str:
    return Path(place.name).suffix.lower()


def _write_parquet(table: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _write_csv(table: "pa.Table", path: Path, delimiter: str = ",") -> None:
    import pyarrow.csv

    options = pyarrow.csv.WriteOptions(delimiter=delimiter)
    pyarrow.csv.write_csv(_plain(table), path, options)


def _write_tsv(table: "pa.Table", path: Path) -> None:
    _write_csv(table, path, "\t")


def _write_json_lines(table: "pa.Table", path: Path) -> None:
    """Write an object a line; whole numbers that JavaScript would round are text."""
    from perennial.storage.reading.identifier_forms import to_json_identifier

    with path.open("w", encoding="utf-8") as file:
        for batch in _plain(table).to_batches(max_chunksize=_BATCH_ROWS):
            for row in batch.to_pylist():
                for name, value in row.items():
                    if isinstance(value, int):
                        row[name] = to_json_identifier(value)
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(table: "pa.Table") -> "pa.Table":
    """Return a table with decimals, which whole numbers beyond 64 bits are, as text."""
    import pyarrow as pa

    kinds = [pa.string() if pa.types.is_decimal(one.type) else one.type for one in table.schema]
    return table.cast(pa.schema(list(zip(table.schema.names, kinds, strict=True))))


_WRITERS: Mapping[str, Callable[["pa.Table", Path], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
}
"""Suffix -> function that writes a table to a local path."""

TABLE_SUFFIXES = tuple(_WRITERS)
"""Suffixes of the formats."""
