"""Times in a given format, and the formats suggested for a text."""

import numpy as np
import pyarrow as pa
import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.rejects import Fault
from perennial.storage.reading.times.formats import suggest_formats
from perennial.storage.reading.times.timestamps import parse_times

JANUARY_31 = 1_706_659_200_000_000
NOON = JANUARY_31 + 12 * 3_600_000_000


@pytest.mark.parametrize(
    ("values", "time_format", "micros"),
    [
        (["31/01/2024"], "%d/%m/%Y", JANUARY_31),
        (["Wed Jan 31 13:00:00 +0100 2024"], "%a %b %d %H:%M:%S %z %Y", NOON),
        ([" 01/31/2024 12:00:00 PM"], "%m/%d/%Y %I:%M:%S %p", NOON),
        (["131"], "%m%d", 949_276_800_000_000),
        ([131], "%m%d", 949_276_800_000_000),
        ([1_022_024], "%d%m%Y", 1_706_745_600_000_000),
        ([2024], "%Y", 1_704_067_200_000_000),
        ([45_322.5], "excel", NOON),
        (["45322.5"], "excel", NOON),
        ([7], "s", 7_000_000),
        (["7"], "s", 7_000_000),
        ([1_706_659_200], "ms", 1_706_659_200_000),
        ([JANUARY_31], "us", JANUARY_31),
        ([JANUARY_31 * 1000 + 999], "ns", JANUARY_31),
    ],
)
def test_a_given_format_is_used(utc, values, time_format, micros):
    times = parse_times(pa.chunked_array([values]), utc, time_format)
    assert (times.micros.tolist(), times.faults, times.remark) == ([micros], None, "")


def test_arrays_and_gaps_follow_a_given_format(utc):
    assert parse_times(np.array([2024]), utc, "%Y").micros.tolist() == [1_704_067_200_000_000]
    times = parse_times(pa.chunked_array([["31/01/2024", "", "1/2", None]]), utc, "%d/%m/%Y")
    assert times.faults.tolist() == [Fault.NONE, Fault.NO_TIME, Fault.BAD_TIME, Fault.NO_TIME]


@pytest.mark.parametrize("time_format", ["%Q", "", "tomorrow"])
def test_formats_that_are_none_are_refused(utc, time_format):
    with pytest.raises(UserError, match="time format"):
        parse_times(pa.chunked_array([["2024"]]), utc, time_format)


@pytest.mark.parametrize(
    ("texts", "formats"),
    [
        (["03/04/2012", "13/04/2012"], ("%d/%m/%Y",)),
        (["03/04/2012"], ("%d/%m/%Y", "%m/%d/%Y")),
        (["Tue Apr 03 18:00:09 +0000 2012"], ("%a %b %d %H:%M:%S %z %Y",)),
        (["11/13/2019 11:30:54 AM "], ("%m/%d/%Y %I:%M:%S %p",)),
        (["06 3, 2013"], ("%m %d, %Y",)),
        (["yesterday"], ()),
    ],
)
def test_formats_are_suggested(utc, texts, formats):
    assert suggest_formats(texts, utc) == formats
