"""Cuts of a log into periods.

A cut maps the times of a log to boundaries, which are times themselves: rows of equal time are
never separated, and the order of the rows in a file does not matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError

Boundaries = Callable[[NDArray[np.int64], int], NDArray[np.int64]]
"""Sorted times `(n,)` int64 and a number of periods -> strictly increasing boundaries `(m,)`."""

_DAY = 86_400_000_000
_MONDAY = 3 * _DAY
"""The epoch began on a Thursday, three days after a Monday."""


def cut_equal_count(times: NDArray[np.int64], num_periods: int) -> NDArray[np.int64]:
    """Give each of P periods the same number of rows, as nearly as equal times allow.

    The j-th boundary is the time whose first row is nearest to row j·n/P, the earlier one of two
    that are equally near. Sizes differ by at most one row if all times are distinct. A log with few
    distinct times has fewer periods. Sorted times `(n,)` int64 -> `(≤ P − 1,)` int64.
    """
    firsts = np.flatnonzero(np.concatenate(([True], times[1:] != times[:-1])))
    goals = np.arange(1, num_periods) * len(times) // num_periods
    above = np.searchsorted(firsts, goals).clip(0, len(firsts) - 1)
    below = (above - 1).clip(0)
    nearest = np.where(goals - firsts[below] <= firsts[above] - goals, below, above)
    chosen = np.unique(firsts[nearest])
    return times[chosen[chosen > 0]]


def cut_equal_span(times: NDArray[np.int64], num_periods: int) -> NDArray[np.int64]:
    """Give each of P periods of sorted times `(n,)` int64 the same span, but for empty ones."""
    # Python integers: the product of a span in microseconds and P may exceed 64 bits.
    first, span = int(times[0]), int(times[-1]) - int(times[0]) + 1
    edges = [first + -(-part * span // num_periods) for part in range(1, num_periods)]
    distinct = np.unique(np.array(edges, dtype=np.int64))
    rows_before = np.concatenate(([0], np.searchsorted(times, distinct)))
    return distinct[np.diff(rows_before) > 0]


def cut_days(times: NDArray[np.int64], num_periods: int = 0) -> NDArray[np.int64]:
    """Cut at midnight UTC; a day without rows is no period. `times` `(n,)` int64 in µs."""
    return np.unique(times // _DAY)[1:] * _DAY


def cut_weeks(times: NDArray[np.int64], num_periods: int = 0) -> NDArray[np.int64]:
    """Cut at the beginning of Monday UTC (ISO 8601 weeks). `times` `(n,)` int64 in µs."""
    weeks = np.unique((times + _MONDAY) // (7 * _DAY))[1:]
    return weeks * (7 * _DAY) - _MONDAY


def cut_months(times: NDArray[np.int64], num_periods: int = 0) -> NDArray[np.int64]:
    """Cut at the beginning of the first of a month UTC. `times` `(n,)` int64 in µs."""
    months = np.unique(times.view("datetime64[us]").astype("datetime64[M]"))[1:]
    return months.astype("datetime64[us]").view(np.int64)


def _refuse(times: NDArray[np.int64], num_periods: int) -> NDArray[np.int64]:
    """Fail for the cut `files`, whose boundaries are not times."""
    raise ValueError("the cut 'files' makes each file a period and has no boundaries in time")


@dataclass(frozen=True)
class Cut:
    """A rule that cuts a log into periods; a call with the times returns the boundaries.

    Attributes:
        num_periods: P, for the cuts that take it.
        needs_clock: True if a log without times is refused, since line numbers are not enough.
    """

    name: str
    num_periods: int
    needs_clock: bool
    boundaries: Boundaries

    @property
    def takes_number(self) -> bool:
        """True if the number of periods is given, and does not follow from the log."""
        return self.boundaries in (cut_equal_count, cut_equal_span)

    @property
    def by_file(self) -> bool:
        """True if each file of the log is a period, so that there is nothing to compute."""
        return self.boundaries is _refuse

    def __call__(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the boundaries of a log from its times `(n,)` int64, sorted.

        Times are µs since 1970, or line numbers if the log has none.

        Returns:
            `(m,)` int64, strictly increasing: a row belongs to period
            `1 + searchsorted(boundaries, time, side="right")`; none of the m + 1 is empty.
        """
        if len(times) == 0:
            return np.empty(0, dtype=np.int64)
        return self.boundaries(times, self.num_periods)


_RULES: Mapping[str, tuple[Boundaries, bool]] = {
    "equal-count": (cut_equal_count, False),
    "equal-span": (cut_equal_span, False),
    "day": (cut_days, True),
    "week": (cut_weeks, True),
    "month": (cut_months, True),
    "files": (_refuse, False),
}

CUTS: tuple[str, ...] = tuple(_RULES)
"""Names of the cuts, the default first."""


def make_cut(name: str, num_periods: int = 17) -> Cut:
    """Build a cut by its name.

    `num_periods` is for `equal-count` and `equal-span`; 17 of equal count reproduce the paper's
    Figure 5 on ML-1M. An unknown name, and a number below 1, are a `UserError`.
    """
    if name not in _RULES:
        raise UserError(f"unknown cut '{name}'; choose from {', '.join(CUTS)}")
    if num_periods < 1:
        raise UserError(f"a log cannot be cut into {num_periods} periods; give at least 1")
    boundaries, needs_clock = _RULES[name]
    return Cut(name, num_periods, needs_clock, boundaries)
