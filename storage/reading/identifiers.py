"""Columns of identifiers as codes, and the distinction of integers and strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.parallel import find_range, over_blocks
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.identifier_forms import are_integers, canonical_texts
from perennial.storage.reading.rejects import LONGEST_ID, Fault

# Words for missing values in text files; files with types have nulls, which are used instead.
# Fewer than `MISSING_WORDS`: a user or an item may be called NA.
_NULL_WORDS = ["", "\\N", "NULL", "null"]
_NAN_WORDS = ["NaN", "nan", "NAN"]
# By width in bits. No other integer is rounded to one of these.
_LAST_EXACT_FLOAT = {16: 2**11 - 1, 32: 2**24 - 1, 64: 2**53 - 1}


@dataclass(frozen=True)
class IdentifierKind:
    """Kind of the identifiers of a column or a vocabulary.

    Attributes:
        kind: integers are returned as `int`, strings as `str`.
        inferred: True for untyped text, which is integers if every value is written as an integer
            would be. Strings may follow such integers, and are returned as `str`.
    """

    kind: Literal["integer", "string"]
    inferred: bool


INTEGERS = IdentifierKind("integer", inferred=False)
DIGITS = IdentifierKind("integer", inferred=True)
STRINGS = IdentifierKind("string", inferred=False)
TEXT = IdentifierKind("string", inferred=True)


@dataclass(frozen=True)
class Encoded:
    """A column of identifiers.

    Attributes:
        codes: `(n,)` int32, positions in `ids`; undefined where `faults` is set.
        ids: distinct identifiers as `canonical` text; some may occur in no row.
        kind: integers or strings.
        faults: `(n,)` uint8 of `Fault`, or `None` if every value is good.
    """

    codes: NDArray[np.int32]
    ids: pa.StringArray
    kind: IdentifierKind
    faults: NDArray[np.uint8] | None = None

    def keep(self, good: NDArray[np.bool_]) -> "Encoded":
        """Keep the rows `(n,)` that are good; the others no longer decide the kind."""
        codes, kind = self.codes[good], self.kind
        if kind == TEXT:
            occurs = np.zeros(len(self.ids), np.bool_)
            occurs[codes] = True
            kind = DIGITS if are_integers(self.ids.filter(pa.array(occurs))) else TEXT
        return Encoded(codes, self.ids, kind)


@dataclass(frozen=True)
class ColumnFaults:
    """Faults of the bad values of a column."""

    missing: Fault
    nan: Fault
    fraction: Fault
    long: Fault


USER_FAULTS = ColumnFaults(Fault.NO_USER, Fault.NAN_USER, Fault.FRACTION_USER, Fault.LONG_USER)
ITEM_FAULTS = ColumnFaults(Fault.NO_ITEM, Fault.NAN_ITEM, Fault.FRACTION_ITEM, Fault.LONG_ITEM)


def encode(column: Column, faults: ColumnFaults, *, typed: bool) -> Encoded:
    """Give each distinct identifier of a column a code.

    The column is `(n,)` integers, whole floats or decimals, strings, bytes that are UTF-8, UUIDs,
    or dictionaries of any of these, `typed` if it has a type of the file. An array is overwritten:
    its memory is reused for the codes. `faults` are those of its bad values.

    Raises:
        UserError: the type cannot hold identifiers.
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
    if pa.types.is_decimal(kind):
        return _encode_decimals(column, faults)
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(values) or pa.types.is_binary(values):
        return _encode_text(column, faults, typed)
    name = printable(str(kind), 80)
    raise UserError(f"type {name} cannot hold identifiers; name another column")


def check_exact(column: Column, faults: NDArray[np.uint8] | None) -> None:
    """Raise `UserError` if a float of a row without another fault is too large to be exact.

    The identifiers are `(n,)`, and the faults `(n,)` uint8 of `Fault`, or `None`.
    """
    if faults is None or isinstance(column, np.ndarray) or not pa.types.is_floating(column.type):
        return
    width = column.type.bit_width
    last = _LAST_EXACT_FLOAT[width]
    values = column.filter(pa.array(faults == Fault.INEXACT)).cast(pa.float64()).to_numpy()
    beyond = values[np.abs(values) > last]
    if len(beyond):
        raise UserError(
            f"identifiers of type float{width} are exact up to {last:,} only, and there is "
            f"{float(beyond[0])!r}: write them as integers or text"
        )


def merge(columns: Sequence[Encoded], kind: IdentifierKind) -> Encoded:
    """Concatenate columns without faults; `kind` comes from `join_kinds`."""
    code_of, ids = _encode_by_hashing(pa.chunked_array([column.ids for column in columns]))
    edges = np.cumsum([len(column.ids) for column in columns])[:-1]
    parts = zip(np.split(code_of, edges), columns, strict=True)
    return Encoded(np.concatenate([codes[column.codes] for codes, column in parts]), ids, kind)


def join_kinds(known: IdentifierKind | None, incoming: IdentifierKind, name: str) -> IdentifierKind:
    """Return the common kind of known identifiers, if there are any, and incoming ones.

    The first identifiers decide it, so that an identifier is the same value for ever: after
    integers of untyped text, strings are returned as `str` and integers stay `int`. Typed integers
    and strings do not go together: 7 and "7" would be two identifiers that look the same. The
    message of the `UserError` calls the new ones by `name`.
    """
    if known is None:
        return incoming
    if known.kind == incoming.kind:
        return incoming if known.inferred else known
    if known == DIGITS or incoming == DIGITS:
        return known
    raise UserError(
        f"{name} are {incoming.kind}s, and those before them are {known.kind}s: convert the "
        "column, or use another store"
    )


def describe_mixture(known: IdentifierKind, incoming: IdentifierKind, name: str) -> str | None:
    """Describe new identifiers of another kind than the known ones; `None` if they are of one."""
    if known.kind == incoming.kind:
        return None
    if known.kind == "string":
        return f"{name} are whole numbers, and those before them are text: they are kept as text"
    return (
        f"{name} are not all whole numbers, and those before them are: whole numbers stay numbers, "
        "the others are kept as text"
    )


def _nulls(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = pc.is_null(column).to_numpy()
    return nulls


def _encode_floats(column: pa.ChunkedArray, faults: ColumnFaults) -> Encoded:
    """Encode floats: integers with missing values are often stored so, with NaN for the gaps."""
    values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy()
    bad = np.zeros(len(values), np.uint8)
    bad[np.abs(values) > _LAST_EXACT_FLOAT[column.type.bit_width]] = Fault.INEXACT
    bad[np.isinf(values) | (np.floor(values) != values)] = faults.fraction
    bad[np.isnan(values)] = faults.nan
    bad[_nulls(column)] = faults.missing
    clean = np.where(bad == 0, values, 0.0).astype(np.int64)
    return _encode_integers(clean, bad if bad.any() else None)


def _encode_decimals(column: pa.ChunkedArray, faults: ColumnFaults) -> Encoded:
    """Encode decimals that are whole, of any width and scale."""
    make, digits = (pa.decimal256, 76) if column.type.bit_width > 128 else (pa.decimal128, 38)
    wide = make(digits, column.type.scale)
    values = pc.fill_null(column.cast(wide), pa.scalar(Decimal(0), wide))
    integers = pc.trunc(values)
    bad = np.where(pc.equal(integers, values), Fault.NONE, faults.fraction).astype(np.uint8)
    bad[_nulls(column)] = faults.missing
    codes, distinct = _encode_by_hashing(integers.cast(make(digits, 0)))
    return Encoded(codes, distinct.cast(pa.string()), INTEGERS, bad if bad.any() else None)


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
    """Encode integers in increasing order, by a table of the whole range `low..high`.

    The codes reuse the memory of the values if these are int32 and writeable; Arrow's are not.
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
    # The code of a null is never used.
    indices = [pc.fill_null(chunk.indices, 0) for chunk in encoded.chunks]
    codes = np.concatenate([part.to_numpy() for part in indices]).astype(np.int32, copy=False)
    distinct = encoded.chunk(0).dictionary
    if pa.types.is_dictionary(column.type) and len(distinct.unique()) < len(distinct):
        # A dictionary of a file may hold a value twice.
        again = distinct.dictionary_encode()
        return again.indices.to_numpy().astype(np.int32)[codes], again.dictionary
    return codes, distinct


def _encode_text(column: pa.ChunkedArray, faults: ColumnFaults, typed: bool) -> Encoded:
    codes, raw = _encode_by_hashing(column)
    # As bytes: a column of strings in a Parquet file may hold other bytes.
    raw = raw.cast(pa.binary())
    long = pc.greater(pc.binary_length(raw), LONGEST_ID)
    raw = pc.if_else(long, b"", raw)
    is_utf8, ids = _decode(raw)
    fault_of = np.where(is_utf8, Fault.NONE, Fault.BAD_UTF8).astype(np.uint8)
    trimmed = pc.utf8_trim_whitespace(ids)
    if typed:
        missing = pc.equal(trimmed, "")
    else:
        missing = pc.is_in(trimmed, pa.array(_NULL_WORDS))
        fault_of[_as_mask(pc.is_in(trimmed, pa.array(_NAN_WORDS)))] = faults.nan
    fault_of[_as_mask(missing) & is_utf8] = faults.missing
    fault_of[_as_mask(long)] = faults.long
    row_faults = fault_of[codes] if fault_of.any() else None
    if column.null_count:
        row_faults = np.zeros(len(codes), np.uint8) if row_faults is None else row_faults
        row_faults[_nulls(column)] = faults.missing
    kind = STRINGS
    forms = canonical_texts(ids)
    if not typed:
        kind = DIGITS if are_integers(forms.filter(pa.array(fault_of == 0))) else TEXT
    if forms is not ids:
        code_of, forms = _encode_by_hashing(pa.chunked_array([forms]))
        codes = code_of[codes]
    return Encoded(codes, forms, kind, row_faults)


def _as_mask(values: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False)
    return mask


def _decode(raw: pa.BinaryArray) -> tuple[NDArray[np.bool_], pa.StringArray]:
    """Decode UTF-8; return which values are valid, and the texts, empty where invalid."""
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
