"""Numbers in place of times that are no Unix times: dates in digits, years, spreadsheet days."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLAUSIBLE = 157_766_400
"""1975-01-01 in seconds since 1970; columns of earlier times are hardly ever Unix times."""

FUTURE = 2_145_916_800
"""2038-01-01 in seconds since 1970."""

# Share of the values that must have a form.
_MOST = 0.9
_DATE_DIGITS = (8, 10, 12, 14)
_NO_DATE = -(1 << 40)

Integers = NDArray[np.int64]


def read_dates(numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Read numbers such as 20240131, 2024013123, 202401312359 or 20240131235959 (ISO 8601, basic).

    None of them can be a Unix time of the last decades: as seconds or ms they are in 1970, after
    2030, in 1976 and in 2600. `(n,)` int64 become `(n,)` int64, µs since 1970, −1 for a number that
    is no date; the result is `None` if they are not dates.
    """
    if not len(numbers):
        return None
    middle = np.median(numbers)
    digits = next((most for most in _DATE_DIGITS if 10 ** (most - 1) <= middle < 10**most), None)
    if digits is None:
        return None
    fits = (numbers >= 10 ** (digits - 1)) & (numbers < 10**digits)
    days, clock = np.divmod(np.where(fits, numbers, 0) * 10 ** (14 - digits), 1_000_000)
    hour, minute, second = _split(clock, 10_000, 100)
    dates = _to_days(*_split(days, 10_000, 100))
    valid = (dates != _NO_DATE) & (hour < 24) & (minute < 60) & (second < 60)
    if np.mean(valid) < _MOST:
        return None
    seconds = ((dates * 24 + hour) * 60 + minute) * 60 + second
    return np.where(valid, seconds * 1_000_000, -1)


def find_form(numbers: NDArray[np.float64]) -> tuple[str, str] | None:
    """Find what finite numbers `(n ≥ 1,)` float64, too small for Unix times, look like.

    The name of the form and the time format that reads it are returned; `None` if they look like
    nothing, as a count of seconds does.
    """
    whole = numbers.astype(np.int64)
    is_whole = numbers == whole
    for form in _FORMS:
        fits = form.test(whole) & (is_whole | form.fractions)
        if np.mean(fits) >= _MOST:
            return form.name, form.time_format
    return None


def _split(numbers: Integers, first: int, second: int) -> tuple[Integers, Integers, Integers]:
    """Split digits in three, such as 20240131 with 10000 and 100."""
    return numbers // first, numbers // second % (first // second), numbers % second


def _to_days(year: Integers, month: Integers, day: Integers) -> Integers:
    """Return days since 1970, `_NO_DATE` where there is no such day."""
    firsts = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    begin, end = (one.astype("datetime64[D]").astype(np.int64) for one in (firsts, firsts + 1))
    valid = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1)
    return np.where(valid & (day <= end - begin), begin + day - 1, _NO_DATE)


@dataclass(frozen=True)
class _Form:
    """A form of numbers that people write in place of times, with its name in error messages.

    `test` marks which numbers without fractions, `(n,)` int64, have the form, as `(n,)` bool; with
    `fractions` those with one may have it. `time_format` reads them.
    """

    name: str
    time_format: str
    test: Callable[[Integers], NDArray[np.bool_]]
    fractions: bool = False


def _between(low: int, high: int) -> Callable[[Integers], NDArray[np.bool_]]:
    return lambda numbers: (numbers >= low) & (numbers <= high)


def _are_dates(
    order: str, first: int, second: int, *, scale: int = 1, offset: int = 0
) -> Callable[[Integers], NDArray[np.bool_]]:
    """Test the digits of scale · number + offset in the order of the letters y, m and d."""

    def test(numbers: Integers) -> NDArray[np.bool_]:
        parts = dict(zip(order, _split(scale * numbers + offset, first, second), strict=True))
        days: NDArray[np.bool_] = _to_days(parts["y"], parts["m"], parts["d"]) != _NO_DATE
        return days

    return test


# Digits such as 240131, two each of year, month and day, or of the year 2000 without it.
_are_short_dates = _are_dates("ymd", 10_000, 100, offset=20_000_000)


def _are_months_and_days(numbers: Integers) -> NDArray[np.bool_]:
    return (numbers <= 1231) & _are_short_dates(numbers)


def _are_hours(numbers: Integers) -> NDArray[np.bool_]:
    """Test digits such as 14102123: a short date and two digits of the hour."""
    return (numbers >= 10**7) & (numbers % 100 < 24) & _are_short_dates(numbers // 100)


# The first that fits. Offsets put a leap year before a month and a day, or a day after a month.
_FORMS = (
    _Form("years", "%Y", _between(1900, 2100)),
    _Form("months and days", "%m%d", _are_months_and_days),
    _Form("days of a spreadsheet", "excel", _between(20_000, 80_000), fractions=True),
    _Form("years and months", "%Y%m", _are_dates("ymd", 10_000, 100, scale=100, offset=1)),
    _Form("years, months and days", "%y%m%d", _are_short_dates),
    _Form("years, months, days and hours", "%y%m%d%H", _are_hours),
    _Form("days, months and years", "%d%m%Y", _are_dates("dmy", 1_000_000, 10_000)),
    _Form("months, days and years", "%m%d%Y", _are_dates("mdy", 1_000_000, 10_000)),
)
