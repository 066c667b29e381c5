"""Columns of a Parquet file, read without trust in its metadata."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.parallel import count_cores, run_all, split_evenly
from perennial.storage.reading.columns import Column, ColumnChoice, find_columns, printable
from perennial.storage.reading.memory_budget import Budget

BATCH_ROWS = 1 << 16
# A batch of texts has a dictionary of all values of its row group so far: few batches are better.
_TEXT_BATCH_ROWS = 1 << 20
_CODE_BYTES = 4
# Types of a user, an item and a time.
_KINDS: tuple[np.dtype[Any], ...] = (np.dtype("i4"), np.dtype("i4"), np.dtype("i8"))


def read_columns(
    path: Path, choice: ColumnChoice, budget: Budget, first: int = 0
) -> tuple[tuple[Column, ...], int]:
    """Read the user, the item and, if there is one, the time column.

    Identifiers that are texts become dictionaries: as plain rows, a long text that all rows share
    would be copied for each of them, and a file of a few kilobytes would fill any memory.

    Args:
        path: the file.
        choice: column names that the user gave.
        budget: memory for the columns.
        first: first of the three to read, 0 for the user; those before are ignored.

    Returns:
        The columns, `(n,)` each, and n.

    Raises:
        UserError: the columns cannot be found or take too much memory, or the metadata are wrong.
    """
    with pq.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
    places = find_columns(schema.names, choice).places[first:]
    types = {schema.names[place]: schema.field(place).type for place in places}
    _check_flat(types, first)
    _check_counts(metadata)
    kinds = {
        name: kind
        for (name, declared), kind in zip(types.items(), _KINDS[first:], strict=False)
        if pa.types.is_integer(plain_type(declared))
    }
    texts = [name for name, declared in types.items() if _is_text(plain_type(declared))]
    widths = [*(kind.itemsize for kind in kinds.values()), *[_CODE_BYTES] * len(texts)]
    budget.take(metadata.num_rows * sum(widths))
    arrays = {name: np.empty(metadata.num_rows, kind) for name, kind in kinds.items()}
    spans = [range(*span) for span in split_evenly(metadata.num_row_groups, count_cores())]
    misfits = run_all([partial(_read_integers, path, groups, arrays) for groups in spans])
    for name in set[str]().union(*misfits):
        del arrays[name]
    others = [name for name in types if name not in texts and name not in arrays]
    parts = run_all(
        [
            *(partial(_read_others, path, others, groups, budget) for groups in spans),
            *(partial(_read_texts, path, texts, groups, budget) for groups in spans),
        ]
    )
    columns = [
        arrays[name]
        if name in arrays
        else pa.chunked_array([chunk for part in parts for chunk in part.get(name, ())] or [[]])
        for name in types
    ]
    # Times in texts are parsed row by row.
    before = 2 - first
    plain = (_without_dictionary(times, budget) for times in columns[before:])
    return (*columns[:before], *plain), metadata.num_rows


def _check_flat(types: dict[str, pa.DataType], first: int) -> None:
    """Refuse lists and structures before they are read, since their rows are not single values."""
    named = ("identifiers", "identifiers", "times")[first:]
    for kind, what in zip(types.values(), named, strict=False):
        if pa.types.is_nested(kind):
            raise UserError(
                f"a column of type {printable(str(kind), 80)} cannot hold {what}; name another "
                "column"
            )


def _check_counts(metadata: pq.FileMetaData) -> None:
    """Check that two numbers of rows in the metadata agree.

    Column chunks are not checked: if their metadata are broken, pyarrow ends the whole process.
    """
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if sum(sizes) != metadata.num_rows or any(size < 0 for size in sizes):
        raise UserError("its metadata contradict themselves on the rows in it; write it again")


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, without a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_string(kind: pa.DataType) -> bool:
    """Return True for each of Arrow's types of strings."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in tests)


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return is_string(kind) or any(is_kind(kind) for is_kind in tests)


def _read_batches(
    path: Path, columns: list[str], groups: range, batch_rows: int, *, as_dictionaries: bool
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read columns of some row groups, in batches with the position of their first row.

    Raises:
        UserError: the row groups hold more or fewer rows than the metadata say.
    """
    if not columns:
        return
    with pq.ParquetFile(path, read_dictionary=columns if as_dictionaries else None) as file:
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


def _read_integers(path: Path, groups: range, arrays: dict[str, NDArray[Any]]) -> set[str]:
    """Fill `(n,)` integer arrays; return the columns with nulls or values that do not fit."""
    misfits: set[str] = set()
    columns = list(arrays)
    for start, batch in _read_batches(path, columns, groups, BATCH_ROWS, as_dictionaries=False):
        for name in arrays.keys() - misfits:
            array, column = arrays[name], batch.column(name)
            try:
                values = column.cast(pa.from_numpy_dtype(array.dtype)).to_numpy()
            except pa.ArrowInvalid:
                misfits.add(name)
            else:
                array[start : start + len(values)] = values
        if len(misfits) == len(arrays):
            break
    return misfits


def _read_others(
    path: Path, columns: list[str], groups: range, budget: Budget
) -> dict[str, list[pa.Array]]:
    """Read columns that are neither texts nor integers of the usual types, in chunks."""
    chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}
    for _, batch in _read_batches(path, columns, groups, BATCH_ROWS, as_dictionaries=False):
        for name in columns:
            chunks[name].append(_plain_number(batch.column(name)))
            budget.take(chunks[name][-1].nbytes)
    return chunks


def _plain_number(chunk: pa.Array) -> pa.Array:
    """Convert dictionaries to plain values, and decimals without a fraction to integers."""
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.cast(chunk.type.value_type)
    if pa.types.is_decimal(chunk.type) and chunk.type.scale == 0:
        return chunk.cast(pa.int64())
    return chunk


def _read_texts(
    path: Path, columns: list[str], groups: range, budget: Budget
) -> dict[str, list[pa.Array]]:
    """Read columns of texts, in chunks of dictionaries."""
    chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}
    for _, batch in _read_batches(path, columns, groups, _TEXT_BATCH_ROWS, as_dictionaries=True):
        for name in columns:
            chunk = batch.column(name)
            _check_codes(chunk)
            budget.take(chunk.dictionary.nbytes)
            value_type = chunk.type.value_type
            plain = pa.binary() if "binary" in str(value_type) else pa.string()
            chunks[name].append(chunk.cast(pa.dictionary(pa.int32(), plain)))
    return chunks


def _check_codes(chunk: pa.DictionaryArray) -> None:
    """Check the codes of a dictionary, since Arrow would read outside it."""
    ends = pc.min_max(chunk.indices)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and not 0 <= low <= high < len(chunk.dictionary):
        raise UserError("it holds codes that stand for no value; write it again")


def _without_dictionary(column: Column, budget: Budget) -> Column:
    """Convert a column of dictionaries to plain values."""
    if isinstance(column, np.ndarray) or not pa.types.is_dictionary(column.type):
        return column
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
        budget.take(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
    return column.cast(column.type.value_type)
