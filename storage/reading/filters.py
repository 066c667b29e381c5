"""Conditions on ratings and other columns that decide which rows of a file count."""

import csv
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.layout import RawFile, name_column
from perennial.storage.reading.rejects import Fault, Rejects, is_missing
from perennial.storage.reading.settings import IngestSettings

# ASCII only: `float` takes digits of all scripts, and underscores.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
# `1e999999999` has no plain form that fits in memory.
_MOST_DIGITS = 400
# Values that are shown where no row counts.
_EXAMPLES = 5
Mask = NDArray[np.bool_]


def keep_counted(raw: RawFile, settings: IngestSettings) -> RawFile:
    """Leave out the rows that do not count; a rating that is no number makes a row a bad one."""
    masks = _find_counted(raw, settings)
    if masks is None:
        return raw
    counts, bad = masks
    lines = raw.line_numbers()
    faults = np.full(int(bad.sum()), Fault.BAD_RATING, np.uint8)
    return dataclasses.replace(
        raw,
        users=_keep(raw.users, counts),
        items=_keep(raw.items, counts),
        times=None if raw.times is None else _keep(raw.times, counts),
        lines=lines[counts],
        rejects=Rejects.join([raw.rejects, Rejects(lines[bad], faults)]),
        layout=dataclasses.replace(
            raw.layout,
            filtered=int((~counts & ~bad).sum()),
            min_rating=settings.min_rating,
            where=settings.where or (),
        ),
        rating=None,
        where=(),
        uncounted="" if counts.any() else _describe_columns(raw, settings),
    )


def _describe_columns(raw: RawFile, settings: IngestSettings) -> str:
    """Describe the columns of the conditions by the first values of each."""
    columns = [
        (name, column) for (name, _), column in zip(settings.where or (), raw.where, strict=True)
    ]
    if settings.min_rating is not None and raw.rating is not None:
        columns.append((raw.layout.rating or "rating", raw.rating))
    return "; ".join(
        f"{printable(name, 40)} holds {_list_values(column)}" for name, column in columns
    )


def _list_values(column: Column) -> str:
    values = [value for value in _encode(column)[0] if value is not None]
    shown = [printable(_to_text(value).strip(), 40) for value in values[:_EXAMPLES]]
    more = ", ..." if len(values) > _EXAMPLES else ""
    return ", ".join(text or "''" for text in shown) + more if shown else "no values"


def _find_counted(raw: RawFile, settings: IngestSettings) -> tuple[Mask, Mask] | None:
    """Find the rows that count: those with the least rating and accepted values.

    A row without a rating does not count. One whose rating is no number is bad.

    Returns:
        Two masks `(n,)`, of the rows that count and of the bad ones; `None` if all rows count.

    Raises:
        UserError: a column is missing, or its type cannot be compared.
    """
    rating, where, conditions = raw.rating, raw.where, settings.where or ()
    if settings.min_rating is not None and rating is None:
        raise UserError("no ratings in a file of this format; leave --min-rating out")
    if len(where) != len(conditions):
        raise UserError("no such columns in a file of this format; leave --where out")
    masks = [
        _is_among(column, values) for column, (_, values) in zip(where, conditions, strict=True)
    ]
    bad = None
    if settings.min_rating is not None and rating is not None:
        with name_column(raw.layout.rating or "rating"):
            enough, bad = _reaches(rating, settings.min_rating)
        masks.append(enough | bad)
    if not masks:
        return None
    counts = np.logical_and.reduce(masks)
    bad = np.zeros(len(counts), np.bool_) if bad is None else bad & counts
    return counts & ~bad, bad


def _keep(column: Column, rows: Mask) -> Column:
    if isinstance(column, np.ndarray):
        chosen: Column = column[rows]
        return chosen
    return column.filter(pa.array(rows))


def _reaches(column: Column, least: float) -> tuple[Mask, Mask]:
    """Return which ratings reach the least one, and which are no numbers."""
    if isinstance(column, np.ndarray):
        return column >= least, np.zeros(len(column), np.bool_)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_temporal(kind) or pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        raise UserError(
            f"type {printable(str(kind), 80)} cannot hold ratings; name another with "
            "--rating-column"
        )
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        if pa.types.is_floating(column.type):
            least = _round(least, kind)
        values = pc.fill_null(column.cast(pa.float64(), safe=False), math.nan).to_numpy()
        return values >= least, np.zeros(len(values), np.bool_)
    numbers = _look_up(column, _to_number, math.nan, np.float64)
    return (numbers >= least) & np.isfinite(numbers), np.isinf(numbers)


def _round(number: float, kind: pa.DataType) -> float:
    """Return a number as a type of floats holds it: 3.3 in 32 bits is a little less than in 64."""
    with np.errstate(over="ignore"):
        return float(np.dtype(f"f{kind.bit_width // 8}").type(number))


def _to_number(value: Any) -> float:
    """Return a rating; NaN if it is missing, and infinity if it is no number."""
    if isinstance(value, Decimal):
        return float(value)
    text = _to_text(value).strip()
    if is_missing(text):
        return math.nan
    return float(text) if _NUMBER.fullmatch(text) else math.inf


def _is_among(column: Column, accepted: Sequence[str]) -> Mask:
    """Return which values are accepted.

    Numbers are compared as numbers; among texts 1 and 1.0 are one value, as of identifiers, and
    so are 1.5 and 1.50, 0.5 and .5, 1000 and 1e3.
    """
    kind = pa.from_numpy_dtype(column.dtype) if isinstance(column, np.ndarray) else column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        texts = [text for text in accepted if _NUMBER.fullmatch(text)]
        floating = pa.types.is_floating(kind)
        numbers = {_round(float(text), kind) if floating else Decimal(text) for text in texts}
        return _look_up(column, numbers.__contains__, False, np.bool_)
    forms = {_to_form(value) for value in accepted}
    return _look_up(column, lambda value: _to_form(value) in forms, False, np.bool_)


def _look_up(
    column: Column, make: Callable[[Any], Any], missing: float, kind: type[np.generic]
) -> NDArray[Any]:
    """Compute a number of each distinct value, `(n,)`, and `missing` where there is none."""
    values, encoded = _encode(column)
    if not encoded.num_chunks:
        return np.zeros(0, kind)
    table = np.array([*(missing if one is None else make(one) for one in values), missing], kind)
    codes = [pc.fill_null(chunk.indices, len(values)).to_numpy() for chunk in encoded.chunks]
    looked_up: NDArray[Any] = table[np.concatenate(codes)]
    return looked_up


def _encode(column: Column) -> tuple[list[Any], pa.ChunkedArray]:
    """Return the distinct values of a column, and the column as codes of them."""
    if isinstance(column, np.ndarray):
        column = pa.chunked_array([pa.array(column)])
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    distinct = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
    if pa.types.is_temporal(distinct.type):
        distinct = distinct.cast(pa.string())
    return distinct.to_pylist(), encoded


def _to_form(value: Any) -> str:
    text = _to_text(value).strip()
    # Whole numbers with zeros before them, as 007, are texts.
    if _NUMBER.fullmatch(text) and not text.lstrip("+-").isdigit():
        number = Decimal(text)
        if not number:
            text = "0"
        elif abs(number.adjusted()) < _MOST_DIGITS:
            plain = f"{number:f}"
            text = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return text.lower() if text.lower() in ("true", "false") else canonical(text)


def _to_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def parse_where(texts: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    """Parse conditions such as `event=purchase,addtocart`; quotes enclose a comma in a value.

    Returns:
        `IngestSettings.where`, sorted; `None` without conditions.

    Raises:
        UserError: a text is no condition.
    """
    accepted: dict[str, set[str]] = {}
    for text in texts:
        column, _, listed = text.partition("=")
        values = [value.strip() for value in next(csv.reader([listed], skipinitialspace=True), [])]
        if not column.strip() or not values or not all(values):
            raise UserError(
                f"no condition: '{printable(text, 60)}'; write COLUMN=VALUE, or "
                "COLUMN=VALUE,VALUE for several values"
            )
        accepted.setdefault(column.strip(), set()).update(values)
    return tuple((column, tuple(sorted(accepted[column]))) for column in sorted(accepted)) or None


def describe_conditions(settings: IngestSettings) -> str:
    """Describe the conditions as the options that give them; empty without conditions."""
    least = [] if settings.min_rating is None else [f"--min-rating {settings.min_rating:g}"]
    where = [f"--where {column}={','.join(values)}" for column, values in settings.where or ()]
    return printable(" ".join([*least, *where]), 200)


def check_conditions(settings: IngestSettings) -> None:
    """Check the conditions before a file is read; `UserError` for an invalid least rating."""
    if settings.min_rating is not None and not math.isfinite(settings.min_rating):
        raise UserError(f"--min-rating {settings.min_rating} is no number; give one such as 4")
    if settings.rating_column is not None and settings.min_rating is None:
        raise UserError(
            "--rating-column is for --min-rating, and every row counts without it; give "
            "--min-rating too, or leave --rating-column out"
        )
