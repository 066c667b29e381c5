"""Reading the files that logs come in; what comes out is the same for all of them."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.columns import Column, ColumnChoice, find_columns
from storage.dialects import HEAD_BYTES, understand
from storage.errors import UserError
from storage.parallel import count_cores, run_all, split_evenly
from storage.progress import Progress, ignore_progress
from storage.rejects import Rejects
from storage.text import read_text

FORMATS = ("parquet", "csv", "tsv", "dat", "inter", "ader")
_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".data": "tsv", ".dat": "dat", ".inter": "inter", ".txt": "ader",
}  # fmt: skip
BATCH_ROWS = 1 << 16
# Of a user, an item and a time.
_KINDS = (np.dtype(np.int32), np.dtype(np.int32), np.dtype(np.int64))
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class RawFile:
    """The columns of a file as they stand in it.

    Attributes:
        users: `(n,)` identifiers.
        items: `(n,)` identifiers.
        times: `(n,)`, or None where the file has no times.
        lines: `(n,)` int64, the line of each row, from 1; None where row k is line k + 1.
        rejects: lines that are no rows.
        num_lines: lines read, refused ones included.
        typed: whether the columns have types of the file's own; text has none.
    """

    users: Column
    items: Column
    times: Column | None
    lines: NDArray[np.int64] | None
    rejects: Rejects
    num_lines: int
    typed: bool

    def line_numbers(self) -> NDArray[np.int64]:
        """The line of each row, `(n,)`."""
        return np.arange(1, len(self.users) + 1) if self.lines is None else self.lines


def read_file(
    path: Path,
    choice: ColumnChoice,
    file_format: str | None,
    progress: Progress = ignore_progress,
) -> RawFile:
    """Read a log file.

    Args:
        path: the file.
        choice: column names that the user gave.
        file_format: one of `FORMATS`; None tells by the file's name and first lines.
        progress: told how many bytes of a text file are read.

    Raises:
        UserError: the file cannot be read, or its columns cannot be found.
    """
    try:
        chosen = file_format or guess_format(path)
        if chosen not in FORMATS:
            raise UserError(f"unknown format {chosen!r}; choose from {', '.join(FORMATS)}")
        if chosen == "parquet":
            return _read_parquet(path, choice)
        return _read_text(path, choice, chosen, progress)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read ({words}); check the file") from error


def guess_format(path: Path) -> str:
    """The format that a file's name promises.

    Raises:
        UserError: the name promises none.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise UserError(f"cannot tell what kind of file this is; name one of {', '.join(FORMATS)}")
    return _SUFFIXES[suffix]


def _read_parquet(path: Path, choice: ColumnChoice) -> RawFile:
    with pq.ParquetFile(path) as file:
        names, metadata = file.schema_arrow.names, file.metadata
    columns = find_columns(names, choice)
    wanted = [names[place] for place in columns.places]
    kinds = dict(zip(wanted, _KINDS, strict=False))
    arrays = {
        name: np.empty(metadata.num_rows, kind)
        for name, kind in kinds.items()
        if _fits(metadata, name, np.iinfo(kind))
    }
    spans = split_evenly(metadata.num_row_groups, count_cores())
    parts = run_all([partial(_read_groups, path, wanted, range(*span), arrays) for span in spans])
    users, items, *times = (
        arrays[name]
        if name in arrays
        else pa.chunked_array([chunk for part in parts for chunk in part[name]] or [[]])
        for name in wanted
    )
    return RawFile(
        users=users,
        items=items,
        times=times[0] if times else None,
        lines=None,
        rejects=Rejects.join([]),
        num_lines=metadata.num_rows,
        typed=True,
    )


def _fits(metadata: pq.FileMetaData, name: str, limits: np.iinfo[Any]) -> bool:
    """Whether a file's statistics say that a column holds integers within limits and no nulls."""
    if not metadata.num_row_groups:
        return False
    group = metadata.row_group(0)
    paths = [group.column(place).path_in_schema for place in range(group.num_columns)]
    if name not in paths or metadata.schema.column(paths.index(name)).physical_type[:3] != "INT":
        return False
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(paths.index(name)).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
            return False
        low, high = statistics.min, statistics.max
        if not (isinstance(low, int) and low >= limits.min and high <= limits.max):
            return False
    return True


def _read_groups(
    path: Path, wanted: list[str], groups: range, arrays: dict[str, NDArray[Any]]
) -> dict[str, list[pa.Array]]:
    """The wanted columns of some row groups.

    Args:
        path: the Parquet file.
        wanted: names of columns.
        groups: numbers of row groups.
        arrays: `(num_rows,)` integers for some of the columns, to be filled in.

    Returns:
        The other columns, in chunks.
    """
    chunks: dict[str, list[pa.Array]] = {name: [] for name in wanted}
    with pq.ParquetFile(path) as file:
        start = sum(file.metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in file.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=wanted, use_threads=False
        ):
            for name in wanted:
                if name in arrays:
                    # Checked on the way: statistics are the word of whoever wrote the file.
                    kind = pa.from_numpy_dtype(arrays[name].dtype)
                    values = batch.column(name).cast(kind).to_numpy()
                    arrays[name][start : start + len(values)] = values
                else:
                    chunks[name].append(_plain_type(batch.column(name)))
            start += batch.num_rows
    return chunks


def _plain_type(chunk: pa.Array) -> pa.Array:
    """Without dictionaries and the rarer kinds of strings and numbers."""
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        chunk, kind = chunk.cast(kind.value_type), kind.value_type
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return chunk.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return chunk.cast(pa.binary())
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return chunk.cast(pa.int64())
    return chunk


def _read_text(path: Path, choice: ColumnChoice, text_format: str, progress: Progress) -> RawFile:
    size = path.stat().st_size
    with path.open("rb") as packed, _unpack(packed) as stream:
        dialect, columns = understand(stream.read(HEAD_BYTES), choice, text_format)
    with path.open("rb") as packed, _unpack(packed) as stream:

        def tell() -> None:
            progress(f"reading {path.name}", packed.tell(), size)

        rows = read_text(stream, dialect, columns.places, tell)
    users, items, *times = rows.columns
    return RawFile(
        users=users,
        items=items,
        times=times[0] if times else None,
        lines=rows.lines,
        rejects=rows.rejects,
        num_lines=rows.num_lines,
        typed=False,
    )


@contextmanager
def _unpack(packed: BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed where they are gzip, whatever the file's name."""
    magic = packed.read(len(_GZIP))
    packed.seek(0)
    if magic == _GZIP:
        with gzip.open(packed) as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        yield packed
