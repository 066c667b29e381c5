"""Batches of columns of a Parquet file, and columns of texts as dictionaries."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.storage.errors import UserError
from perennial.storage.reading.memory_budget import Budget

BATCH_ROWS = 1 << 16
BATCH_BYTES = 1 << 24
# A batch of texts has a dictionary of all values of its row group so far: few batches are better.
_TEXT_BATCH_ROWS = 1 << 20
# Texts that Arrow reads without a dictionary: a long one may be repeated in every row.
_PLAIN_TEXT_ROWS = 1 << 7


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, without a dictionary or an extension such as UUID."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_string(kind: pa.DataType) -> bool:
    """Return True for each of Arrow's types of strings."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in tests)


def is_text(kind: pa.DataType) -> bool:
    """Return True for each of Arrow's types of strings and of bytes of any length."""
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return is_string(kind) or any(is_kind(kind) for is_kind in tests)


def read_batches(
    path: Path,
    columns: list[str],
    groups: range,
    batch_rows: int,
    *,
    as_dictionaries: bool,
    metadata: pq.FileMetaData | None = None,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read columns of some row groups, in batches with the position of their first row.

    The metadata are those of the file if `None`.

    Raises:
        UserError: the row groups hold more or fewer rows than in the metadata.
    """
    if not columns:
        return
    dictionaries = columns if as_dictionaries else None
    with pq.ParquetFile(path, read_dictionary=dictionaries, metadata=metadata) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(groups.stop)]
        start, stop = sum(sizes[: groups.start]), sum(sizes)
        for batch in file.iter_batches(
            batch_rows, row_groups=list(groups), columns=columns, use_threads=False
        ):
            if start + batch.num_rows > stop:
                raise UserError("it holds more rows than its metadata say; write it again")
            yield start, batch
            start += batch.num_rows
        if start < stop:
            raise UserError("it holds fewer rows than its metadata say; write it again")


def read_texts(
    path: Path, name: str, groups: range, budget: Budget
) -> dict[str, list[pa.DictionaryArray]]:
    """Read a column of texts, in chunks of dictionaries."""
    try:
        return {name: list(_read_dictionaries(path, name, groups, budget))}
    except (OSError, NotImplementedError) as error:
        # Arrow makes no dictionaries of texts in the encodings DELTA_BYTE_ARRAY and
        # DELTA_LENGTH_BYTE_ARRAY.
        if "not yet implemented" not in str(error).lower():
            raise
        return {name: list(_make_dictionaries(path, name, groups, budget))}


def _read_dictionaries(
    path: Path, name: str, groups: range, budget: Budget
) -> Iterator[pa.DictionaryArray]:
    """Yield the dictionaries that Arrow makes of a column of texts."""
    for _, batch in read_batches(path, [name], groups, _TEXT_BATCH_ROWS, as_dictionaries=True):
        chunk = batch.column(name)
        _check_codes(chunk)
        budget.take(chunk.dictionary.nbytes)
        yield chunk.cast(pa.dictionary(pa.int32(), _plain_text(chunk.type.value_type)))


def _make_dictionaries(
    path: Path, name: str, groups: range, budget: Budget
) -> Iterator[pa.DictionaryArray]:
    """Read a column of plain texts a few rows at a time, and yield dictionaries of many rows."""
    parts: list[pa.Array] = []
    num_rows = num_bytes = 0
    metadata = _read_plain_metadata(path)
    for _, batch in read_batches(
        path, [name], groups, _PLAIN_TEXT_ROWS, as_dictionaries=False, metadata=metadata
    ):
        part = batch.column(name)
        parts.append(part.cast(_plain_text(part.type)))
        num_rows, num_bytes = num_rows + len(part), num_bytes + parts[-1].nbytes
        if num_rows >= BATCH_ROWS or num_bytes >= BATCH_BYTES:
            yield _merge_texts(parts, budget)
            parts, num_rows, num_bytes = [], 0, 0
    if parts:
        yield _merge_texts(parts, budget)


def _read_plain_metadata(path: Path) -> pq.FileMetaData:
    """Read the metadata without the schema of Arrow in them, which may require dictionaries.

    The footer ends with its length, four bytes, and `PAR1` (Parquet format, "File format").
    """
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        ending = file.read()
        length = int.from_bytes(ending[:4], "little")
        file.seek(-8 - length, os.SEEK_END)
        footer = file.read(length).replace(b"ARROW:schema", b"ARROW-schema")
    return pq.read_metadata(pa.BufferReader(b"PAR1" + footer + ending))


def _merge_texts(parts: list[pa.Array], budget: Budget) -> pa.DictionaryArray:
    merged = pa.concat_arrays(parts).dictionary_encode()
    budget.take(merged.dictionary.nbytes)
    return merged


def _plain_text(kind: pa.DataType) -> pa.DataType:
    """Return the usual type of strings or of bytes."""
    return pa.string() if is_string(kind) else pa.binary()


def _check_codes(chunk: pa.DictionaryArray) -> None:
    """Check the codes of a dictionary, since Arrow would read outside it."""
    ends = pc.min_max(chunk.indices)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and not 0 <= low <= high < len(chunk.dictionary):
        raise UserError("it holds codes that stand for no value; write it again")
