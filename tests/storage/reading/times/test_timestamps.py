"""Times of every make become the same µs, and what is no time says why."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading.rejects import Fault
from perennial.storage.reading.times.timestamps import LATEST, parse_times, ticks_per_second

MOMENT = datetime(2001, 2, 3, 4, 5, 6, 789_000, UTC)
MICROS = 981_173_106_789_000
SECOND, MINUTE, DAY = (MICROS // unit * unit for unit in (10**6, 60 * 10**6, 86_400 * 10**6))


def parse(connection, values, kind):
    half = len(values) // 2
    chunks = [pa.array(values[:half], kind), pa.array(values[half:], kind)]
    return parse_times(pa.chunked_array(chunks, kind), connection)


def faults_of(times):
    if times.faults is None:
        return [Fault.NONE] * len(times.micros)
    return [Fault(fault) for fault in times.faults]


@pytest.mark.parametrize(
    ("value", "kind", "micros"),
    [
        *((981_173_106, kind(), SECOND) for kind in (pa.int64, pa.int32, pa.uint32, pa.uint64)),
        *((value, pa.int64(), MICROS) for value in (981_173_106_789, MICROS, MICROS * 1000 + 999)),
        *((value, pa.float64(), MICROS) for value in (981_173_106.789, 981_173_106_789.0)),
        *((20010203, pa.int64(), DAY), (20010203.0, pa.float64(), DAY)),
        *((20010203040506, pa.int64(), SECOND), (MICROS * 1000 + 999, pa.timestamp("ns"), MICROS)),
        (Decimal("981173106.789"), pa.decimal128(20, 3), MICROS),
        *((MOMENT, pa.timestamp(*of), MICROS) for of in (("ms", "UTC"), ("us", "Europe/Paris"))),
        (MOMENT.replace(tzinfo=None), pa.timestamp("ns"), MICROS),
        (MOMENT.replace(tzinfo=None, microsecond=0), pa.timestamp("s"), SECOND),
        *((date(2001, 2, 3), kind(), DAY) for kind in (pa.date32, pa.date64)),
        *((text, pa.string(), DAY) for text in ("20010203", "2001-02-03")),
        *((text, pa.string(), SECOND) for text in ("981173106", "20010203T040506Z")),
        ("2001-02-03T04:05Z", pa.string(), MINUTE),
        *(
            (text, pa.string(), MICROS)
            for text in (
                *("981173106789", "981173106.789", "9.81173106789e8", f"{MICROS * 1000 + 999}"),
                *("2001-02-03T04:05:06.789", "2001-02-03 04:05:06.789Z"),
                *("2001-02-03T06:05:06.789+02:00", "2001-02-02T22:35:06.789-0530"),
                *(" 2001-02-03 04:05:06.789 ", "2001-02-03T04:05:06.789000999Z"),
            )
        ),
    ],
)
def test_one_moment_in_many_forms(utc, value, kind, micros):
    times = parse(utc, [value, value, value], kind)
    assert times.micros.tolist() == [micros] * 3
    assert times.micros.dtype == np.int64
    assert times.faults is None


@pytest.mark.parametrize(
    ("values", "micros", "fault"),
    [
        ([10**9, 5, 10**9], [10**15, 5 * 10**6, 10**15], Fault.NONE),
        ([10**9, -5, 10**9], [10**15, 0, 10**15], Fault.TIME_RANGE),
    ],
)
def test_arrays_are_read_like_columns(utc, values, micros, fault):
    times = parse_times(np.array(values), utc)
    assert times.micros.tolist() == micros
    assert faults_of(times)[1] == fault


NO_TIMES = ("", "  ", "NULL", "\\N", "NaT", "None", "NA", "n/a")
BAD_TIMES = ("yesterday", "2001-02-30", "2001-02-03T25:00:00", "12:30", "1_000_000_000")
FAR_TIMES = ("-1", "99999999999", "1e300", "1969-12-31T23:59:59Z", "2100-01-01")


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        *((bad, Fault.NO_TIME) for bad in NO_TIMES),
        *((bad, Fault.NAN_TIME) for bad in ("NaN", "-inf", "infinity")),
        *((bad, Fault.BAD_TIME) for bad in BAD_TIMES),
        *((bad, Fault.TIME_RANGE) for bad in FAR_TIMES),
    ],
)
@pytest.mark.parametrize("good", ["981173106", "2001-02-03T04:05:06Z", "981173106.0"])
def test_bad_text_is_rejected(utc, bad, fault, good):
    times = parse(utc, [good, bad, good, good], pa.string())
    assert faults_of(times) == [Fault.NONE, fault, Fault.NONE, Fault.NONE]
    assert times.micros.tolist() == [SECOND, 0, SECOND, SECOND]


@pytest.mark.parametrize(
    ("value", "kind", "fault"),
    [
        *((None, kind, Fault.NO_TIME) for kind in (pa.int64(), pa.float64(), pa.timestamp("us"))),
        *((value, pa.float64(), Fault.NAN_TIME) for value in (float("nan"), float("inf"))),
        *((value, pa.int64(), Fault.TIME_RANGE) for value in (-1, 2**63 - 1, -(2**63))),
        *((value, pa.float64(), Fault.TIME_RANGE) for value in (-1.0, 1e300)),
        (2**64 - 1, pa.uint64(), Fault.TIME_RANGE),
        (2**62, pa.timestamp("s"), Fault.TIME_RANGE),
    ],
)
def test_bad_typed_values_are_rejected(utc, value, kind, fault):
    good = pa.scalar(981_173_106, pa.int64()).cast(kind).as_py()
    if pa.types.is_timestamp(kind):
        good = datetime(2001, 2, 3)
    values = pa.chunked_array([pa.array([good, good], kind), pa.array([value, good], kind)])
    times = parse_times(values, utc)
    assert faults_of(times) == [Fault.NONE, Fault.NONE, fault, Fault.NONE]
    assert times.micros[2] == 0
    assert (times.micros[[0, 1, 3]] > 0).all()


def test_the_median_decides_the_unit():
    seconds = np.array([10**9, 2 * 10**9, 10**9])
    for stray in (10**18, 0, -(10**15)):
        for place in range(4):
            assert ticks_per_second(np.insert(seconds, place, stray)) == 1
    for ticks in (1_000, 1_000_000, 1_000_000_000):
        assert ticks_per_second(seconds * ticks) == ticks
    assert ticks_per_second(np.zeros(0, np.int64)) == 1


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_a_bad_value_does_not_change_the_others(utc, kind):
    """Nanoseconds keep their digits next to a value that is no number."""
    first = MICROS * 1000 + 999 if kind != pa.float64() else float(MICROS)
    values = [str(first), "gone", str(first)] if kind == pa.string() else [first, None, first]
    assert parse(utc, values, kind).micros.tolist() == [MICROS, 0, MICROS]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2019, "years.*--time-format %Y"),
        (45_292, "spreadsheet.*excel"),
        (639_000_000_000_000_000, ".NET.*ticks.*ns"),
    ],
)
def test_numbers_that_look_like_dates_are_refused(utc, kind, value, words):
    values = [
        None if kind != pa.string() else "",
        *[pa.scalar(value).cast(kind, safe=False).as_py()] * 9,
    ]
    with pytest.raises(UserError, match=words):
        parse(utc, values, kind)


@pytest.mark.parametrize(
    ("value", "ticks", "when"),
    [
        *((value, 1, "before 1975") for value in (0, 99_999, 88_888_888)),
        *((133_500_000_000_000_000, 10**9, "before 1975"), (3_000_000_000, 1, "after 2037")),
    ],
)
def test_odd_times_are_remarked_on(utc, value, ticks, when):
    times = parse(utc, [value, value], pa.int64())
    assert times.micros.tolist() == [value * 10**6 // ticks] * 2
    assert when in times.remark


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_ticks_of_dotnet_are_read_where_named(utc, kind):
    second = 1_700_000_000
    ticks = second * 10**7 + 621_355_968_000_000_000
    values = pa.chunked_array([[pa.scalar(ticks).cast(kind, safe=False).as_py()]], kind)
    read = parse_times(values, utc, "ticks").micros
    assert abs(int(read[0]) - second * 10**6) <= (8 if kind == pa.float64() else 0)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.float64(), pa.timestamp("us")])
def test_no_rows_are_no_times(utc, kind):
    assert len(parse(utc, [], kind).micros) == 0


@pytest.mark.parametrize("kind", [pa.bool_(), pa.binary(), pa.list_(pa.int64()), pa.duration("s")])
def test_other_types_are_refused(utc, kind):
    with pytest.raises(UserError, match="cannot hold times"):
        parse(utc, [None], kind)


@given(
    st.lists(
        st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60)
def test_text_and_types_agree(utc, moments):
    typed = parse(utc, moments, pa.timestamp("us", "UTC")).micros
    as_text = parse(utc, [moment.isoformat() for moment in moments], pa.string()).micros
    np.testing.assert_array_equal(as_text, typed)
    assert (typed < LATEST).all()
    assert typed.tolist() == [
        (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution) for moment in moments
    ]
