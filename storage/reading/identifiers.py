"""Turning a column of identifiers into codes, and telling integers from strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.parallel import find_range, over_blocks
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.rejects import LONGEST_ID, Fault

# What stands for no value in text files. Files with types say null, and what they say is taken.
_NULL_WORDS = pa.array(["", "\\N", "NULL", "null"])
_NAN_WORDS = pa.array(["NaN", "nan", "NAN"])
# Only what an integer would be written back as: "007" and "+7" are strings. So is what has more
# digits than the integers of any file with types; Python itself makes no integers of thousands.
_INTEGER = r"^(?:0|-?[1-9][0-9]{0,37})$"
# Past it a float no longer tells neighbouring integers apart.
_LAST_EXACT_FLOAT = 2.0**53


@dataclass(frozen=True)
class IdentifierKind:
    """What the identifiers of a column or a vocabulary are.

    Attributes:
        kind: integers come back as `int`, strings as `str`.
        inferred: text without types, all of it written as integers would be; such identifiers may
            turn out to be strings later, which changes none of them.
    """

    kind: Literal["integer", "string"]
    inferred: bool


INTEGERS = IdentifierKind("integer", inferred=False)
DIGITS = IdentifierKind("integer", inferred=True)
STRINGS = IdentifierKind("string", inferred=False)


@dataclass(frozen=True)
class Encoded:
    """A column of identifiers.

    Attributes:
        codes: `(n,)` int32, places in `ids`; of no meaning where `faults` is set.
        ids: the distinct identifiers as text; some may stand in no row.
        kind: what they are.
        faults: `(n,)` uint8 of `Fault`, or None when every value is good.
    """

    codes: NDArray[np.int32]
    ids: pa.StringArray
    kind: IdentifierKind
    faults: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class ColumnFaults:
    """What the bad values of a column are called."""

    missing: Fault
    nan: Fault
    fraction: Fault
    long: Fault


USER_FAULTS = ColumnFaults(Fault.NO_USER, Fault.NAN_USER, Fault.FRACTION_USER, Fault.LONG_USER)
ITEM_FAULTS = ColumnFaults(Fault.NO_ITEM, Fault.NAN_ITEM, Fault.FRACTION_ITEM, Fault.LONG_ITEM)


def encode(column: Column, faults: ColumnFaults, *, typed: bool) -> Encoded:
    """Give each distinct identifier of a column a code.

    Args:
        column: `(n,)` integers, whole floats, strings, bytes that are UTF-8, or dictionaries of
            either of these. An array is used up: its memory becomes that of the codes.
        faults: what its bad values are called.
        typed: whether the column's type is the file's own.

    Raises:
        UserError: the type cannot identify anything.
    """
    if isinstance(column, np.ndarray):
        return _encode_integers(column, None)
    kind = column.type
    if pa.types.is_integer(kind):
        bad = np.where(_nulls(column), faults.missing, Fault.NONE).astype(np.uint8)
        values = pc.fill_null(column, 0).to_numpy()
        return _encode_integers(values, bad if column.null_count else None)
    if pa.types.is_floating(kind):
        return _encode_floats(column, faults)
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(values) or pa.types.is_binary(values):
        return _encode_text(column, faults, typed)
    name = printable(str(kind), 80)
    raise UserError(f"a column of type {name} cannot hold identifiers; name another column")


def merge(columns: Sequence[Encoded], kind: IdentifierKind) -> Encoded:
    """Put columns without faults under each other, of one kind as `join_kinds` found it."""
    code_of, ids = _encode_by_hashing(pa.chunked_array([column.ids for column in columns]))
    edges = np.cumsum([len(column.ids) for column in columns])[:-1]
    parts = zip(np.split(code_of, edges), columns, strict=True)
    return Encoded(np.concatenate([codes[column.codes] for codes, column in parts]), ids, kind)


def join_kinds(held: IdentifierKind | None, incoming: IdentifierKind, name: str) -> IdentifierKind:
    """What identifiers are once others have come to them.

    Text without types follows what it meets. Integers by type and strings, by type or by what
    stands in them, do not go together: 7 and "7" would be two identifiers that read the same.

    Args:
        held: what was there; None for nothing.
        incoming: what comes.
        name: of what comes.

    Raises:
        UserError: they do not go together.
    """
    if held is None or held == incoming:
        return incoming
    if held.kind == incoming.kind:
        return INTEGERS
    string, integer = (held, incoming) if held.kind == "string" else (incoming, held)
    if integer.inferred:
        return string
    raise UserError(
        f"{name} are {incoming.kind}s, and those before them are {held.kind}s: convert the column, "
        "or use another store"
    )


def _nulls(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = pc.is_null(column).to_numpy()
    return nulls


def _encode_floats(column: pa.ChunkedArray, faults: ColumnFaults) -> Encoded:
    """Integers with gaps often come as floats, with NaN for the gaps."""
    values = pc.fill_null(column, 0.0).cast(pa.float64()).to_numpy()
    bad = np.zeros(len(values), np.uint8)
    whole = (np.abs(values) <= _LAST_EXACT_FLOAT) & (np.floor(values) == values)
    bad[~whole] = faults.fraction
    bad[np.isnan(values)] = faults.nan
    bad[_nulls(column)] = faults.missing
    clean = np.where(bad == 0, values, 0.0).astype(np.int64)
    return _encode_integers(clean, bad if bad.any() else None)


def _encode_integers(values: NDArray[np.integer], bad: NDArray[np.uint8] | None) -> Encoded:
    low, high = find_range(values)
    if high < 2**63 and high - low <= max(1 << 20, 2 * len(values)):
        codes, distinct = _encode_by_table(values, low, high)
    else:
        codes, distinct = _encode_by_hashing(pa.chunked_array([values]))
    return Encoded(codes, distinct.cast(pa.string()), INTEGERS, bad)


def _encode_by_table(
    values: NDArray[np.integer], low: int, high: int
) -> tuple[NDArray[np.int32], pa.Array]:
    """Codes in the order of the integers, which lie close enough for a table of all between.

    In the memory of the values where that will do; what Arrow lends is not writeable.
    """
    present = np.zeros(high - low + 1, np.bool_)
    in_place = values.dtype == np.int32 and values.flags.writeable
    codes = values.view(np.int32) if in_place else np.empty(len(values), np.int32)

    def mark(start: int, stop: int) -> None:
        present[values[start:stop].astype(np.int64) - low] = True

    over_blocks(mark, len(values))
    code_of = np.cumsum(present, dtype=np.int32) - np.int32(1)

    def fill(start: int, stop: int) -> None:
        codes[start:stop] = code_of[values[start:stop].astype(np.int64) - low]

    over_blocks(fill, len(values))
    return codes, pa.array(np.flatnonzero(present) + low)


def _encode_by_hashing(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    if not encoded.num_chunks:
        return np.zeros(0, np.int32), pa.array([], column.type)
    # The code of a null means nothing.
    indices = [pc.fill_null(chunk.indices, 0) for chunk in encoded.chunks]
    codes = np.concatenate([part.to_numpy() for part in indices])
    return codes.astype(np.int32, copy=False), encoded.chunk(0).dictionary


def _encode_text(column: pa.ChunkedArray, faults: ColumnFaults, typed: bool) -> Encoded:
    codes, raw = _encode_by_hashing(column)
    # As bytes: a Parquet file may call a column text that is not.
    raw = raw.cast(pa.binary())
    long = pc.greater(pc.binary_length(raw), LONGEST_ID)
    raw = pc.if_else(long, b"", raw)
    is_utf8, ids = _decode(raw)
    fault_of = np.where(is_utf8, Fault.NONE, Fault.BAD_UTF8).astype(np.uint8)
    trimmed = pc.utf8_trim_whitespace(ids)
    if typed:
        missing = pc.equal(trimmed, "")
    else:
        missing = pc.is_in(trimmed, _NULL_WORDS)
        fault_of[_as_mask(pc.is_in(trimmed, _NAN_WORDS))] = faults.nan
    fault_of[_as_mask(missing) & is_utf8] = faults.missing
    fault_of[_as_mask(long)] = faults.long
    good = ids.filter(pa.array(fault_of == 0))
    digits = not typed and pc.all(pc.match_substring_regex(good, _INTEGER)).as_py() is not False
    row_faults = fault_of[codes] if fault_of.any() else None
    if column.null_count:
        row_faults = np.zeros(len(codes), np.uint8) if row_faults is None else row_faults
        row_faults[_nulls(column)] = faults.missing
    return Encoded(codes, ids, DIGITS if digits else STRINGS, row_faults)


def _as_mask(values: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False)
    return mask


def _decode(raw: pa.BinaryArray) -> tuple[NDArray[np.bool_], pa.StringArray]:
    """Which distinct values are UTF-8, and all as text, empty where they are not."""
    try:
        return np.ones(len(raw), np.bool_), raw.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [_decode_one(value) for value in raw.to_pylist()]
        is_utf8 = np.array([text is not None for text in texts], np.bool_)
        return is_utf8, pa.array([text or "" for text in texts], pa.string())


def _decode_one(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
