"""Columns of times in all notations, as µs since 1970 (UTC)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.parallel import find_range
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.rejects import MISSING_WORDS, Fault
from perennial.storage.reading.times.date_numbers import FUTURE, PLAUSIBLE, find_form, read_dates
from perennial.storage.reading.times.formats import (
    EXCEL,
    NUMBERS,
    TICKS,
    TICKS_1970,
    TICKS_PER_SECOND,
    UNITS,
    from_excel,
    is_moment,
    parse_pattern,
    suggest_formats,
)

# Times outside are sentinels, or of a broken clock.
EARLIEST = 0
LATEST = 4_102_444_800_000_000  # 2100-01-01

_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_NOT_FINITE = ("nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity")


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        values: `(n,)` int64, time since 1970 (UTC); 0 where `faults` is set.
        scale: µs per unit of `values`.
        faults: `(n,)` uint8 of `Fault`, or `None` if every value is good.
        remark: what the owner of the file should know; empty if nothing.
    """

    values: NDArray[np.int64]
    scale: int
    faults: NDArray[np.uint8] | None
    remark: str = ""

    @property
    def micros(self) -> NDArray[np.int64]:
        """`(n,)` int64, µs since 1970 (UTC); 0 where `faults` is set."""
        return self.values * self.scale


def parse_times(
    column: Column, connection: duckdb.DuckDBPyConnection, time_format: str | None = None
) -> Times:
    """Parse a column of times.

    Without a format, numbers are seconds, ms, µs or ns since 1970; the median decides which. Text
    is such a number or ISO 8601, with or without a zone; without one it is UTC. Digits below a µs
    are dropped. Numbers such as 20240131 are dates.

    Args:
        column: `(n,)` of numbers, text, dates or timestamps.
        connection: its session's time zone must be UTC.
        time_format: format of numbers and texts: "s", "ms", "us" or "ns" since 1970, "excel" for
            days of a spreadsheet, "ticks" of .NET, or a pattern of `strptime`; `None` guesses.

    Raises:
        UserError: the type cannot hold times, the numbers are dates of an unclear form, or there is
            no such format.
    """
    if isinstance(column, np.ndarray):
        ticks = None if time_format is not None else _sure_ticks(*find_range(column))
        if ticks is not None:
            return Times(column.astype(np.int64, copy=False), 1_000_000 // ticks, None)
        column = pa.chunked_array([column])
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _from_timestamps(column)
    if pa.types.is_date(kind):
        return _from_timestamps(column.cast(pa.timestamp("ms")))
    if pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    elif pa.types.is_floating(kind) and kind != pa.float64():
        column = column.cast(pa.float64())
    if pa.types.is_string(column.type):
        return _from_text(column, connection, time_format)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        name = printable(str(kind), 80)
        raise UserError(f"type {name} cannot hold times; name another column")
    if time_format is not None and time_format not in NUMBERS:
        return _from_pattern(column, connection, time_format)
    return _from_numbers(column, time_format)


def looks_like_times(texts: Sequence[str]) -> bool:
    """Return True if all of some texts, at least one, are dates or moments."""
    return bool(texts) and all(is_moment(text) for text in texts)


def describe_unparsable(texts: Sequence[str], connection: duckdb.DuckDBPyConnection) -> str:
    """Describe texts that are no times, and the formats that would read them."""
    words = (
        f"the first unparsable time is '{printable(texts[0], 40)}': Unix times (s, ms, µs, ns) and "
        "ISO 8601 are taken"
    )
    formats = suggest_formats(texts, connection)
    if not formats:
        return f"{words}, and --time-format gives any other format"
    return f"{words}; give --time-format {' or '.join(repr(one) for one in formats)}"


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


def _sure_ticks(low: int, high: int) -> int | None:
    """Return the unit of a column from its least and greatest value, if all of it is in range."""
    for ticks in (1, 1_000, 1_000_000):
        if high < 1e11 * ticks:
            latest = LATEST * ticks // 1_000_000
            return ticks if low >= PLAUSIBLE * ticks and high < latest else None
    return None


def _from_timestamps(column: pa.ChunkedArray) -> Times:
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return _checked(_scale(values, UNITS[column.type.unit]), _find_nulls(column))


def _from_numbers(column: pa.ChunkedArray, time_format: str | None) -> Times:
    """Read integers or floats."""
    missing = _find_nulls(column)
    values = pc.fill_null(column, 0).to_numpy()
    if values.dtype == np.uint64:
        values = np.minimum(values, np.uint64(2**63 - 1))
    if values.dtype.kind != "f":
        values = values.astype(np.int64, copy=False)
    finite = np.isfinite(values)
    valid = finite if missing is None else finite & ~missing
    present = values if valid.all() else values[valid]
    if len(present) < len(values):
        # A gap must not look like a number of another form.
        values = np.where(valid, values, present[0] if len(present) else 0)
    micros, remark = _convert(values, present, time_format)
    times = _checked(micros, missing)
    return replace(_mark(times, [(~finite, Fault.NAN_TIME)]), remark=remark)


def _convert(
    values: NDArray[np.int64] | NDArray[np.float64],
    present: NDArray[np.int64] | NDArray[np.float64],
    time_format: str | None,
) -> tuple[NDArray[np.int64], str]:
    """Convert finite numbers `(n,)` to `(n,)` int64, µs since 1970, with a remark, if there is one.

    `present` `(m,)` are those that are not missing, and the format a unit, "excel", "ticks" or
    `None`. Numbers that are dates of an unclear form are a `UserError`.
    """
    if time_format == EXCEL:
        return _scale_floats(from_excel(values.astype(np.float64)), 1_000_000), ""
    if time_format == TICKS:
        return _scale(np.maximum(values, 0) - TICKS_1970, TICKS_PER_SECOND), ""
    if time_format is not None:
        return _scale(values, UNITS[time_format]), ""
    if values.dtype.kind != "f" or (np.floor(present) == present).all():
        # No date has more than 14 digits.
        dates = read_dates(np.clip(values, -1, 10**15).astype(np.int64))
        if dates is not None:
            return dates, ""
    ticks = ticks_per_second(present)
    return _scale(values, ticks), _describe_odd(present, ticks)


def _describe_odd(present: NDArray[np.int64] | NDArray[np.float64], ticks: int) -> str:
    """Return a remark on numbers that are hardly recent Unix times; `UserError` for dates."""
    middle = float(np.median(np.abs(present))) / ticks if len(present) else PLAUSIBLE
    first = f"{present[0]:.20g}" if len(present) else ""
    since_1970 = (middle * ticks - TICKS_1970) / TICKS_PER_SECOND
    if ticks == UNITS["ns"] and PLAUSIBLE <= since_1970 < FUTURE:
        raise UserError(
            f"the times ({first}, ...) look like ticks of .NET: give --time-format ticks if they "
            "are, or --time-format ns for nanoseconds since 1970"
        )
    if PLAUSIBLE <= middle < FUTURE:
        return ""
    form = find_form(present.astype(np.float64)) if ticks == 1 and middle < PLAUSIBLE else None
    if form is None:
        unit = {1: "seconds", 1_000: "ms", 1_000_000: "µs", 1_000_000_000: "ns"}[ticks]
        when = "before 1975" if middle < PLAUSIBLE else "after 2037"
        return (
            f"the times ({first}, ...) are taken as {unit} since 1970, and are {when}; "
            "--time-format gives another format"
        )
    name, time_format = form
    raise UserError(
        f"the times ({first}, ...) look like {name}: give --time-format {time_format} if they "
        "are, or --time-format s for seconds since 1970"
    )


def _from_pattern(
    column: pa.ChunkedArray, connection: duckdb.DuckDBPyConnection, pattern: str
) -> Times:
    micros, parsed = parse_pattern(column, pattern, connection)
    return _mark(_checked(micros, _find_nulls(column)), [(~parsed, Fault.BAD_TIME)])


def _from_text(
    column: pa.ChunkedArray, connection: duckdb.DuckDBPyConnection, time_format: str | None
) -> Times:
    text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    if time_format is None or time_format in NUMBERS:
        for kind in (pa.int64(), pa.float64()):
            try:
                return _from_numbers(text.cast(kind), time_format)
            except pa.ArrowInvalid:
                continue
        micros, parsed, remark = _join_notations(_read_notations(text, connection), time_format)
    else:
        micros, parsed = parse_pattern(text, time_format, connection)
        remark = ""
    lower = pc.utf8_lower(text)
    missing, not_finite = (
        pc.is_in(lower, pa.array(words)).to_numpy() for words in (MISSING_WORDS, _NOT_FINITE)
    )
    marks = [(~parsed, Fault.BAD_TIME), (missing, Fault.NO_TIME), (not_finite, Fault.NAN_TIME)]
    return replace(_mark(_checked(micros, None), marks), remark=remark)


def _read_notations(text: pa.ChunkedArray, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Read each text as a number, as a whole number and as a moment, in µs; null if it is none."""
    table = pa.table({"place": np.arange(len(text)), "text": text})
    connection.register("time_column", table)
    try:
        return connection.sql(
            """SELECT
                CASE WHEN regexp_full_match(text, $number)
                    THEN try_cast(text AS DOUBLE) END AS number,
                CASE WHEN number IS NOT NULL THEN try_cast(text AS BIGINT) END AS whole,
                CASE WHEN number IS NULL THEN coalesce(
                    try_cast(text AS TIMESTAMPTZ),
                    try_strptime(text, ['%Y%m%dT%H%M%SZ', '%Y%m%dT%H%M%S', '%Y%m%dT%H%MZ']),
                    try_strptime(text, '%a %b %d %H:%M:%S %z %Y')
                ) END AS moment,
                CASE WHEN isfinite(moment) THEN epoch_us(moment) END AS micros
            FROM time_column ORDER BY place""",
            params={"number": _NUMBER},
        ).to_arrow_table()
    finally:
        connection.unregister("time_column")


def _join_notations(
    read_back: pa.Table, time_format: str | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_], str]:
    """Return `(n,)` µs since 1970 of numbers and moments, which rows are one, and a remark."""
    numbers = pc.fill_null(read_back["number"], np.nan).to_numpy()
    is_number = np.isfinite(numbers)
    parsed = is_number | (
        np.zeros_like(is_number)
        if time_format is not None
        else pc.is_valid(read_back["micros"]).to_numpy()
    )
    micros, remark = pc.fill_null(read_back["micros"], 0).to_numpy().copy(), ""
    whole = read_back["whole"].filter(pa.array(is_number))
    values = numbers[is_number] if whole.null_count else whole.to_numpy()
    if len(values):
        micros[is_number], remark = _convert(values, values, time_format)
    return micros, parsed, remark


def _find_nulls(column: pa.ChunkedArray) -> NDArray[np.bool_] | None:
    return pc.is_null(column).to_numpy() if column.null_count else None


def _scale(values: NDArray[np.int64] | NDArray[np.float64], ticks: int) -> NDArray[np.int64]:
    if not np.issubdtype(values.dtype, np.integer):
        return _scale_floats(values.astype(np.float64), ticks)
    values = values.astype(np.int64, copy=False)
    if ticks > 1_000_000:
        return values // (ticks // 1_000_000)
    factor = 1_000_000 // ticks
    if factor == 1:
        return values
    limit = LATEST // factor + 1
    return np.clip(values, -limit, limit) * np.int64(factor)


def _scale_floats(values: NDArray[np.float64], ticks: int) -> NDArray[np.int64]:
    # A division rounds once; a product with a power of ten below one would round twice.
    micros = np.clip(values * 1_000_000 / ticks, -1.0, float(LATEST))
    return (np.floor(micros) if ticks > 1_000_000 else np.rint(micros)).astype(np.int64)


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
