"""Dates in digits are read, and numbers that only look like dates are named."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.reading.times.date_numbers import find_form, read_dates

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31))


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [("%Y%m%d", 86_400), ("%Y%m%d%H", 3_600), ("%Y%m%d%H%M", 60), ("%Y%m%d%H%M%S", 1)],
)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=20))
def test_dates_in_digits(pattern, unit, moments):
    numbers = np.array([int(moment.strftime(pattern)) for moment in moments])
    seconds = [int(moment.replace(tzinfo=UTC).timestamp()) // unit * unit for moment in moments]
    assert read_dates(numbers).tolist() == [second * 1_000_000 for second in seconds]


@pytest.mark.parametrize(
    "numbers",
    [[20_241_301], [20_230_229], [20_240_100], [1_400_000_000], [981_173_106_789], [5], []],
)
def test_other_numbers_are_no_dates(numbers):
    assert read_dates(np.array(numbers, np.int64)) is None


def test_a_few_bad_dates_are_marked():
    numbers = np.array([20_240_131] * 19 + [20_240_231])
    assert (read_dates(numbers) == -1).tolist() == [False] * 19 + [True]


@pytest.mark.parametrize(
    ("numbers", "time_format"),
    [
        ([2019, 2020], "%Y"), ([1999.0], "%Y"), ([829, 1111, 101], "%m%d"),
        ([240_131, 231_201], "%y%m%d"),
        ([45_292, 45_293.75], "excel"), ([202_401, 201_912], "%Y%m"),
        ([14_102_100, 14_102_123], "%y%m%d%H"),
        ([31_012_024, 1_022_024], "%d%m%Y"), ([12_312_024], "%m%d%Y"),
    ],
)  # fmt: skip
def test_forms_of_dates(numbers, time_format):
    assert find_form(np.array(numbers, np.float64))[1] == time_format


@pytest.mark.parametrize("numbers", [[0], [5, 3], [99_999], [1e6], [-3.0], [10**18], [45_292, -1]])
def test_counts_of_seconds_have_no_form(numbers):
    assert find_form(np.array(numbers, np.float64)) is None
