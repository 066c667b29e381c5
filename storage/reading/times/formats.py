"""Times in a format that the user gave, and formats that would read a text."""

import re
from collections.abc import Sequence
from itertools import islice

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import printable
from perennial.storage.reading.times.date_numbers import read_dates

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Ticks per second of the formats that are counts since 1970."""
EXCEL = "excel"
"""Format of days since the end of 1899, as spreadsheets store dates."""
TICKS = "ticks"
"""Format of counts of 100 ns since the year 1, as .NET stores times."""
NUMBERS = (*UNITS, EXCEL, TICKS)
"""Formats of numbers."""

_EXCEL_1970 = 25_569
TICKS_1970 = 621_355_968_000_000_000
TICKS_PER_SECOND = 10_000_000
_DAY = 86_400_000_000
# The year of dates that have none: a leap year, so that every day exists.
_NO_YEAR = "2000"
_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2, "j": 3}
_USUAL = (
    "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m %d, %Y", "%b %d, %Y", "%B %d, %Y",
    "%b %d, %Y @ %I:%M%p", "%d %b %Y", "%d-%m-%Y", "%d-%b-%Y", "%d-%m-%Y %H:%M", "%Y-%m",
    "%Y-%m-%d %H", "%Y-%m-%d %I:%M %p", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
)  # fmt: skip


_MOMENT = re.compile(
    r"\s*(\d{4}([-/.])\d{1,2}\2\d{1,2}([T ]\d{1,2}(:\d{2}.*)?)?|\d{8}T\d{4,6}Z?"
    r"|\d{1,2}([/.])\d{1,2}\5\d{4}( .*)?|[A-Z][a-z]{2,8} \d{1,2}, \d{4}( .*)?"
    r"|[A-Z][a-z]{2},? .*\d{1,2}:\d{2}:\d{2} .*\d{4}.*)\s*",
    re.ASCII,
)
_DIGITS = re.compile(r"\d{8}|\d{10}|\d{12}|\d{14}", re.ASCII)


def is_moment(text: str) -> bool:
    """Return True if a text is a date, with or without a time of the day, in a usual notation."""
    if _DIGITS.fullmatch(text):
        return read_dates(np.array([int(text)])) is not None
    return bool(_MOMENT.fullmatch(text))


def from_excel(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert days of a spreadsheet, `(n,)` float64, to µs since 1970, `(n,)` float64."""
    return (days - _EXCEL_1970) * _DAY


def parse_pattern(
    column: pa.ChunkedArray, pattern: str, connection: duckdb.DuckDBPyConnection
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Parse times by a pattern of DuckDB's `strptime`; times without a zone are UTC.

    A pattern without a year stands for days of the year 2000. Where all directives have a fixed
    width, zeros that a number lost at its beginning are put back. The column is `(n,)` texts or
    whole numbers, and the time zone of the connection's session must be UTC.

    Returns:
        `(n,)` int64, µs since 1970, and `(n,)` bool, False where a value is no such time.

    Raises:
        UserError: the pattern is not one.
    """
    if pa.types.is_floating(column.type):
        column = column.cast(pa.int64(), safe=False)
    given = pattern
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    directives = re.findall(r"%(-?.)", pattern)
    if not directives:
        raise UserError(
            f"no time format '{printable(pattern, 40)}': give s, ms, us or ns, excel, ticks, or a "
            "pattern such as '%d/%m/%Y'"
        )
    width = sum(_WIDTHS.get(one, 1000) for one in directives)
    if "".join(f"%{one}" for one in directives) == pattern and width < 1000:
        texts = pc.utf8_lpad(texts, width, "0")
    if not {"Y", "y", "G", "c", "x", "s"} & {one.removeprefix("-") for one in directives}:
        texts = pc.binary_join_element_wise(pa.scalar(_NO_YEAR), texts, " ")
        pattern = f"%Y {pattern}"
    table = pa.table({"place": np.arange(len(texts)), "text": texts})
    connection.register("time_column", table)
    try:
        micros = connection.sql(
            "SELECT epoch_us(try_strptime(text, $pattern)) FROM time_column ORDER BY place",
            params={"pattern": pattern},
        ).to_arrow_table()[0]
    except duckdb.Error as error:
        words = printable(" ".join(str(error).split()), 120)
        raise UserError(f"no time format '{printable(given, 40)}' ({words})") from None
    finally:
        connection.unregister("time_column")
    return pc.fill_null(micros, 0).to_numpy(), pc.is_valid(micros).to_numpy()


def suggest_formats(texts: Sequence[str], connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Return the usual patterns that read all of some texts, at most three."""
    query = "SELECT bool_and(try_strptime(text, $2) IS NOT NULL) FROM (SELECT unnest($1) AS text)"
    trimmed = [text.strip() for text in texts]
    fits = (one for one in _USUAL if connection.execute(query, [trimmed, one]).fetchall()[0][0])
    return tuple(islice(fits, 3))
