"""Columns of a Parquet file, read without trust in its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.parallel import count_cores, run_all, split_evenly
from perennial.storage.reading.columns import Column, Columns, find_columns, printable
from perennial.storage.reading.identifier_forms import UUID_BYTES, uuid_texts
from perennial.storage.reading.layout import RawFile, label_column, make_raw_file
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.parquet_batches import (
    BATCH_BYTES,
    BATCH_ROWS,
    is_text,
    plain_type,
    read_batches,
    read_texts,
)
from perennial.storage.reading.rejects import LONGEST_ID, Rejects
from perennial.storage.reading.settings import FileSettings

_CODE_BYTES = 4


@dataclass(frozen=True)
class ParquetRows:
    """Columns of a Parquet file.

    Attributes:
        columns: those of `found.inside`, `(n,)` each.
        names: names of all columns of the file.
        hint: name of a column of times, if no time column was found.
    """

    columns: tuple[Column, ...]
    num_rows: int
    found: Columns
    names: tuple[str, ...]
    hint: str | None


def read_parquet(
    path: Path, settings: FileSettings, _progress: Progress, budget: Budget
) -> RawFile:
    """Read a log; see `read_columns`."""
    read = read_columns(path, settings, budget)
    return make_raw_file(
        "Parquet",
        read.names,
        read.found,
        read.columns,
        read.hint,
        None,
        Rejects.join([]),
        settings,
        budget,
        typed=True,
    )


def read_parquet_times(path: Path, settings: FileSettings, budget: Budget) -> Column | None:
    """Read only the time column; `None` if there is none."""
    columns = read_columns(path, settings, budget, only_times=True).columns
    return columns[0] if columns else None


def read_columns(
    path: Path, settings: FileSettings, budget: Budget, *, only_times: bool = False
) -> ParquetRows:
    """Read the columns of users, items, times and of the conditions on the rows, or times alone.

    Identifiers that are texts become dictionaries: as plain rows, a long text that all rows share
    would be copied for each of them, and a file of a few kilobytes would fill any memory.

    Raises:
        UserError: the columns cannot be found or take too much memory, or the metadata are wrong.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    found = find_columns(schema.names, settings)
    places = found.events[2:] if only_times else found.inside
    kinds: dict[str, np.dtype[Any]] = {}
    for place in places:
        is_identifier = place in (found.user, found.item)
        kinds[schema.names[place]] = np.dtype("i4" if is_identifier else "i8")
        _check_flat(schema.field(place), place, found, is_log=settings.is_log)
    columns, num_rows = read_named(path, kinds, budget)
    # Times in texts are parsed row by row.
    plain = (
        _plain_times(column, budget) if place == found.time else column
        for place, column in zip(places, columns, strict=True)
    )
    hint = next((field.name for field in schema if pa.types.is_temporal(field.type)), None)
    return ParquetRows(tuple(plain), num_rows, found, tuple(schema.names), hint)


def read_named(
    path: Path, kinds: Mapping[str, np.dtype[Any]], budget: Budget
) -> tuple[list[Column], int]:
    """Read columns, `(n,)` each, and n; `kinds` are the types of the integers by column name.

    Columns that take too much memory, and wrong metadata, are a `UserError`.
    """
    with pq.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        uuids = _find_uuids(file.schema)
    _check_counts(metadata)
    types = {name: plain_type(schema.field(name).type) for name in kinds}
    texts = [name for name, kind in types.items() if is_text(kind)]
    integers = [name for name, kind in types.items() if pa.types.is_integer(kind)]
    widths = [*(kinds[name].itemsize for name in integers), *[_CODE_BYTES] * len(texts)]
    budget.take(metadata.num_rows * sum(widths))
    arrays = {name: np.empty(metadata.num_rows, kinds[name]) for name in integers}
    spans = [range(*span) for span in split_evenly(metadata.num_row_groups, count_cores())]
    misfits = run_all([partial(_read_integers, path, groups, arrays) for groups in spans])
    for name in set[str]().union(*misfits):
        del arrays[name]
    others = [name for name in types if name not in texts and name not in arrays]
    batch_rows = min((_rows_at_once(types[name]) for name in others), default=BATCH_ROWS)
    parts = run_all(
        [
            *(
                partial(_read_others, path, others, groups, batch_rows, uuids, budget)
                for groups in spans
            ),
            *(
                partial(read_texts, path, name, groups, budget)
                for name in texts
                for groups in spans
            ),
        ]
    )
    columns = [
        arrays[name]
        if name in arrays
        else pa.chunked_array([chunk for part in parts for chunk in part.get(name, ())] or [[]])
        for name in types
    ]
    return columns, metadata.num_rows


def _find_uuids(schema: pq.ParquetSchema) -> frozenset[str]:
    """Return the columns that are UUIDs; not every version of Arrow has a type for them."""
    columns = (schema.column(place) for place in range(len(schema)))
    return frozenset(one.path for one in columns if one.logical_type.type == "UUID")


def _rows_at_once(kind: pa.DataType) -> int:
    """Return how many rows may be read at once; `UserError` if a single value is too long."""
    if not pa.types.is_fixed_size_binary(kind):
        return BATCH_ROWS
    width = int(kind.byte_width)
    if width > LONGEST_ID:
        raise UserError(f"values of type {kind} are too long; name another column")
    return min(BATCH_ROWS, 1 + BATCH_BYTES // max(1, width))


def _check_flat(field: pa.Field, place: int, found: Columns, *, is_log: bool) -> None:
    """Refuse lists and structures before they are read, since their rows are not single values."""
    if pa.types.is_nested(field.type):
        of_items = "identifiers" if is_log else "titles"
        named = {found.user: "identifiers", found.item: of_items, found.time: "times"}
        raise UserError(
            f"{label_column(field.name)}: type {printable(str(field.type), 80)} cannot hold "
            f"{named.get(place, 'single values')}; name another column"
        )


def _check_counts(metadata: pq.FileMetaData) -> None:
    """Check that two numbers of rows in the metadata agree.

    Column chunks are not checked: if their metadata are broken, pyarrow ends the whole process.
    """
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if sum(sizes) != metadata.num_rows or any(size < 0 for size in sizes):
        raise UserError("its metadata contradict themselves on the rows in it; write it again")


def _read_integers(path: Path, groups: range, arrays: dict[str, NDArray[Any]]) -> set[str]:
    """Fill `(n,)` integer arrays; return the columns with nulls or values that do not fit."""
    misfits: set[str] = set()
    columns = list(arrays)
    for start, batch in read_batches(path, columns, groups, BATCH_ROWS, as_dictionaries=False):
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
    path: Path,
    columns: list[str],
    groups: range,
    batch_rows: int,
    uuids: frozenset[str],
    budget: Budget,
) -> dict[str, list[pa.Array]]:
    """Read columns that are neither texts nor integers of the usual types, in chunks."""
    chunks: dict[str, list[pa.Array]] = {name: [] for name in columns}
    for _, batch in read_batches(path, columns, groups, batch_rows, as_dictionaries=False):
        for name in columns:
            chunks[name].append(_plain(batch.column(name), is_uuid=name in uuids))
            budget.take(chunks[name][-1].nbytes)
    return chunks


def _plain(chunk: pa.Array, *, is_uuid: bool) -> pa.Array:
    """Convert dictionaries to plain values, and values of a fixed width to dictionaries of texts.

    UUIDs become their text, all others bytes.
    """
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.cast(chunk.type.value_type)
    if not pa.types.is_fixed_size_binary(chunk.type):
        return chunk
    chunk = chunk.dictionary_encode()
    values = chunk.dictionary
    is_uuid &= values.type.byte_width == UUID_BYTES
    texts = uuid_texts(values) if is_uuid else values.cast(pa.binary())
    return pa.DictionaryArray.from_arrays(chunk.indices, texts)


def _plain_times(column: Column, budget: Budget) -> Column:
    """Convert dictionaries to plain values, and decimals without a fraction to integers."""
    if isinstance(column, np.ndarray):
        return column
    if pa.types.is_decimal(column.type) and column.type.scale == 0:
        return column.cast(pa.int64())
    if not pa.types.is_dictionary(column.type):
        return column
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
        budget.take(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
    return column.cast(column.type.value_type)
