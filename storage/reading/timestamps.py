"""Columns of times in all notations, as µs since 1970 (UTC)."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.parallel import find_range
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.rejects import Fault

# Times outside are sentinels, or of a broken clock.
EARLIEST = 0
LATEST = 4_102_444_800_000_000  # 2100-01-01

_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_MISSING = ("", "\\n", "null")
_NOT_FINITE = ("nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity")


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        values: `(n,)` int64, time since 1970 (UTC); 0 where `faults` is set.
        scale: µs per unit of `values`.
        faults: `(n,)` uint8 of `Fault`, or `None` if every value is good.
    """

    values: NDArray[np.int64]
    scale: int
    faults: NDArray[np.uint8] | None

    @property
    def micros(self) -> NDArray[np.int64]:
        """`(n,)` int64, µs since 1970 (UTC); 0 where `faults` is set."""
        return self.values * self.scale


def parse_times(column: Column, connection: duckdb.DuckDBPyConnection) -> Times:
    """Parse a column of times.

    Numbers are seconds, ms, µs or ns since 1970; the median decides which. Text is such a number or
    ISO 8601, with or without a zone; without one it is UTC.

    Args:
        column: `(n,)` of numbers, text, dates or timestamps.
        connection: its session's time zone must be UTC.

    Raises:
        UserError: the type cannot hold times.
    """
    if isinstance(column, np.ndarray):
        ticks = _sure_ticks(*find_range(column))
        if ticks is not None:
            return Times(column.astype(np.int64, copy=False), 1_000_000 // ticks, None)
        column = pa.chunked_array([column])
    kind = column.type
    if pa.types.is_string(kind):
        return _from_text(column, connection)
    if pa.types.is_timestamp(kind):
        return _from_timestamps(column)
    if pa.types.is_date(kind):
        return _from_timestamps(column.cast(pa.timestamp("ms")))
    if pa.types.is_floating(kind):
        return _from_floats(column)
    if pa.types.is_integer(kind):
        return _from_integers(column)
    name = printable(str(kind), 80)
    raise UserError(f"a column of type {name} cannot hold times; name another column")


def ticks_per_second(values: NDArray[np.int64] | NDArray[np.float64]) -> int:
    """Guess the unit of times since 1970, as ticks per second: 1, 10³, 10⁶ or 10⁹.

    Seconds reach 10¹¹ in the year 5138, and ms only until 1973 stay below it. The median of the
    `(n,)` finite values decides, so that neither a few wrong ones nor the order of the rows matter.
    """
    if not len(values):
        return 1
    high = max(abs(float(values.max())), abs(float(values.min())))
    for ticks in (1, 1_000, 1_000_000):
        limit = 1e11 * ticks
        if high < limit or 2 * np.count_nonzero(np.abs(values) < limit) > len(values):
            return ticks
    return 1_000_000_000


def _from_integers(column: pa.ChunkedArray) -> Times:
    missing = _find_nulls(column)
    values = pc.fill_null(column, 0).to_numpy()
    if values.dtype == np.uint64:
        values = np.minimum(values, np.uint64(2**63 - 1))
    values = values.astype(np.int64, copy=False)
    ticks = ticks_per_second(values if missing is None else values[~missing])
    return _checked(_scale(values, ticks), missing)


def _sure_ticks(low: int, high: int) -> int | None:
    """Return the unit of a column from its least and greatest value, if all of it is in range."""
    for ticks in (1, 1_000, 1_000_000):
        if high < 1e11 * ticks:
            latest = LATEST * ticks // 1_000_000
            return ticks if low >= EARLIEST and high < latest else None
    return None


def _from_timestamps(column: pa.ChunkedArray) -> Times:
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[column.type.unit]
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return _checked(_scale(values, ticks), _find_nulls(column))


def _from_floats(column: pa.ChunkedArray) -> Times:
    missing = _find_nulls(column)
    values = pc.fill_null(column, 0.0).cast(pa.float64()).to_numpy()
    finite = np.isfinite(values)
    present = finite if missing is None else finite & ~missing
    ticks = ticks_per_second(values[present])
    times = _checked(_scale_floats(np.where(finite, values, 0.0), ticks), missing)
    return _mark(times, [(~finite, Fault.NAN_TIME)])


def _from_text(column: pa.ChunkedArray, connection: duckdb.DuckDBPyConnection) -> Times:
    for kind, read in ((pa.int64(), _from_integers), (pa.float64(), _from_floats)):
        try:
            return read(column.cast(kind))
        except pa.ArrowInvalid:
            continue
    table = pa.table({"place": np.arange(len(column)), "text": pc.utf8_trim_whitespace(column)})
    connection.register("time_column", table)
    try:
        read_back = connection.sql(
            """SELECT
                CASE WHEN regexp_full_match(text, $number)
                    THEN try_cast(text AS DOUBLE) END AS number,
                CASE WHEN number IS NULL THEN try_cast(text AS TIMESTAMPTZ) END AS moment,
                CASE WHEN isfinite(moment) THEN epoch_us(moment) END AS micros,
                lower(text) IN $missing AS missing,
                lower(text) IN $not_finite AS not_finite
            FROM time_column ORDER BY place""",
            params={"number": _NUMBER, "missing": list(_MISSING), "not_finite": list(_NOT_FINITE)},
        ).to_arrow_table()
    finally:
        connection.unregister("time_column")
    numbers = pc.fill_null(read_back["number"], np.nan).to_numpy()
    is_number = np.isfinite(numbers)
    is_moment = pc.is_valid(read_back["micros"]).to_numpy()
    micros = pc.fill_null(read_back["micros"], 0).to_numpy().copy()
    ticks = ticks_per_second(numbers[is_number])
    micros[is_number] = _scale_floats(numbers[is_number], ticks)
    return _mark(
        _checked(micros, None),
        [
            (~is_number & ~is_moment, Fault.BAD_TIME),
            (read_back["not_finite"].to_numpy(), Fault.NAN_TIME),
            (read_back["missing"].to_numpy(), Fault.NO_TIME),
        ],
    )


def _find_nulls(column: pa.ChunkedArray) -> NDArray[np.bool_] | None:
    return pc.is_null(column).to_numpy() if column.null_count else None


def _scale(values: NDArray[np.int64], ticks: int) -> NDArray[np.int64]:
    if ticks > 1_000_000:
        divisor = ticks // 1_000_000
        return (values + divisor // 2) // divisor
    factor = 1_000_000 // ticks
    if factor == 1:
        return values
    limit = LATEST // factor + 1
    return np.clip(values, -limit, limit) * np.int64(factor)


def _scale_floats(values: NDArray[np.float64], ticks: int) -> NDArray[np.int64]:
    # A division rounds once; a product with a power of ten below one would round twice.
    micros = values * 1_000_000 / ticks
    return np.rint(np.clip(micros, -1.0, float(LATEST))).astype(np.int64)


def _checked(micros: NDArray[np.int64], missing: NDArray[np.bool_] | None) -> Times:
    if not len(micros):
        return Times(micros, 1, None)
    if missing is None and micros.min() >= EARLIEST and micros.max() < LATEST:
        return Times(micros, 1, None)
    out_of_range = (micros < EARLIEST) | (micros >= LATEST)
    marks = [(out_of_range, Fault.TIME_RANGE)]
    if missing is not None:
        marks.append((missing, Fault.NO_TIME))
    return _mark(Times(micros, 1, None), marks)


def _mark(times: Times, marks: list[tuple[NDArray[np.bool_], Fault]]) -> Times:
    """Set faults of rows; a later mark replaces an earlier one."""
    if not any(rows.any() for rows, _ in marks):
        return times
    faults = np.zeros(len(times.values), np.uint8) if times.faults is None else times.faults.copy()
    for rows, fault in marks:
        faults[rows] = fault
    return Times(np.where(faults == 0, times.values, 0), times.scale, faults)
