from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.stream.cuts import CUTS, make_cut

MICROSECONDS = 1_000_000
TIMED_CUTS = [name for name in CUTS if name != "files"]
moments = st.integers(-(2**52), 2**52)


def micros(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp()) * MICROSECONDS


def periods_of(times, name, num_periods=17):
    times = np.asarray(times, dtype=np.int64)
    boundaries = make_cut(name, num_periods)(np.sort(times))
    assert boundaries.dtype == np.int64
    return 1 + np.searchsorted(boundaries, times, side="right")


@pytest.mark.parametrize("name", TIMED_CUTS)
@given(st.lists(moments, min_size=1, max_size=60), st.integers(1, 20), st.randoms())
def test_every_row_has_one_period_in_the_order_of_time(name, times, num_periods, random):
    periods = periods_of(times, name, num_periods)
    order = np.argsort(times, kind="stable")
    assert np.all(np.diff(periods[order]) >= 0)
    assert set(periods.tolist()) == set(range(1, periods.max() + 1)), "no period is empty"
    by_time = {}
    for time, period in zip(times, periods.tolist(), strict=True):
        assert by_time.setdefault(time, period) == period, "equal times share a period"

    shuffled = list(times)
    random.shuffle(shuffled)
    again = dict(zip(shuffled, periods_of(shuffled, name, num_periods).tolist(), strict=True))
    assert again == by_time


@given(st.lists(moments, min_size=1, max_size=80, unique=True), st.integers(1, 20))
def test_equal_count_is_balanced_when_times_are_distinct(times, num_periods):
    sizes = np.bincount(periods_of(times, "equal-count", num_periods))[1:]
    assert len(sizes) == min(num_periods, len(times))
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(1, 20))
def test_equal_count_of_few_times_has_no_more_periods_than_times(times, num_periods):
    assert periods_of(times, "equal-count", num_periods).max() <= min(num_periods, len(set(times)))


@given(st.lists(moments, min_size=1, max_size=60), st.integers(1, 20))
def test_equal_span_assigns_rows_by_time(times, num_periods):
    first, span = min(times), max(times) - min(times) + 1
    expected = [(time - first) * num_periods // span for time in times]
    ranks = {part: rank for rank, part in enumerate(sorted(set(expected)), start=1)}
    got = periods_of(times, "equal-span", num_periods).tolist()
    assert got == [ranks[part] for part in expected]


@pytest.mark.parametrize(
    ("name", "unit_of"),
    [
        ("day", lambda when: when.date()),
        ("week", lambda when: when.isocalendar()[:2]),
        ("month", lambda when: (when.year, when.month)),
    ],
)
@given(
    st.lists(
        st.datetimes(datetime(1899, 1, 1), datetime(2101, 1, 1), timezones=st.just(UTC)),
        min_size=1,
        max_size=40,
    )
)
def test_calendar_cuts_agree_with_the_calendar(name, unit_of, whens):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times = [round((when - epoch).total_seconds()) * MICROSECONDS for when in whens]
    whole = [datetime.fromtimestamp(time // MICROSECONDS, tz=UTC) for time in times]
    units = sorted({unit_of(when) for when in whole})
    assert periods_of(times, name).tolist() == [units.index(unit_of(when)) + 1 for when in whole]


def test_equal_count_cuts_at_the_nearest_time():
    # Ten rows, two periods: row 5 is the goal, and times 3 and 4 begin at rows 4 and 7.
    assert make_cut("equal-count", 2)(np.array([1, 1, 2, 2, 3, 3, 3, 4, 4, 4])).tolist() == [3]
    # Row 3 is as far from row 2 as from row 4: the earlier.
    assert make_cut("equal-count", 2)(np.array([1, 1, 2, 2, 3, 3])).tolist() == [2]
    # A single time is one period whatever is asked for.
    assert make_cut("equal-count", 17)(np.array([8, 8, 8])).tolist() == []


def test_a_boundary_is_the_first_moment_of_its_period():
    monday = micros(2024, 1, 1)
    times = np.array([monday - 1, monday])
    for name in ("day", "week", "month"):
        assert make_cut(name)(times).tolist() == [monday]
    assert make_cut("week")(np.array([monday, monday + 7 * 86_400 * MICROSECONDS - 1])).size == 0


def test_equal_span_of_the_widest_times_does_not_overflow():
    ends = np.array([-(2**63), 0, 2**63 - 1])
    assert make_cut("equal-span", 17)(ends).size == 2


def test_cuts_by_name():
    assert [name for name in CUTS if make_cut(name).needs_clock] == ["day", "week", "month"]
    assert [name for name in CUTS if make_cut(name).by_file] == ["files"]
    with pytest.raises(ValueError, match="each file a period"):
        make_cut("files")(np.arange(3))
    for name in TIMED_CUTS:
        assert make_cut(name)(np.array([], dtype=np.int64)).size == 0
    assert CUTS[0] == "equal-count"
    assert make_cut(CUTS[0]).num_periods == 17


def test_unknown_names_and_impossible_numbers_are_refused():
    with pytest.raises(UserError, match="unknown cut 'year'; choose from equal-count, equal-span"):
        make_cut("year")
    with pytest.raises(UserError, match="0 periods"):
        make_cut("equal-count", 0)
