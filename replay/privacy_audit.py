"""The privacy audit of a summary in a store: nearness and membership, see `privacy`."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.memory.distill.loop import distill
from perennial.memory.distill.reservoir import extend_summary
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillListener, Summary
from perennial.memory.distill_memory import is_rolling
from perennial.memory.privacy import (
    LEVELS,
    SIMILARITIES,
    Membership,
    Nearness,
    measure_nearness,
    membership_test,
    percentiles,
    split_users,
)
from perennial.models.base import TrainingRows
from perennial.replay.summaries import read_summary
from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import UserRows, count_known_items, read_rows
from perennial.storage.log.periods import first_retained_period
from perennial.storage.results.summaries import SummaryRecord
from perennial.storage.store import Store

MAX_USERS = 8192
"""Maximum number of users that are compared; of more, a sample is drawn."""

_FEWEST_USERS = 4
"""Minimum number of users, so that some can be left out on both sides."""


@dataclass(frozen=True)
class Audit:
    """Results of the audit of a summary.

    Attributes:
        first_compared: first period whose users were compared: the log of those before is dropped.
        is_rolling: whether it extends the summary before, or an empty one, by its last period.
        users: number of real users of the compared periods that were compared.
        membership: results by similarity, for a summary made of one half of these users.
        half: number of synthetic users of that summary.
    """

    record: SummaryRecord
    first_compared: int
    is_rolling: bool
    users: int
    users_given: int
    nearness: Nearness
    membership: tuple[Membership, ...]
    half: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the percentiles by level."""
        return {
            "key": self.record.key,
            "first_period": self.record.first_period,
            "period": self.record.period,
            "first_compared_period": self.first_compared,
            "seed": self.record.seed,
            "synthetic_users": self.record.num_rows,
            "users": self.users,
            "users_given": self.users_given,
            "nearest_jaccard": {
                "percentiles": list(LEVELS),
                "synthetic_to_real": list(percentiles(self.nearness.synthetic)),
                "real_to_real": list(percentiles(self.nearness.real)),
                "synthetic_nearer_than_95_percent": self.nearness.nearer_than_real,
            },
            "membership": {
                "synthetic_users": self.half,
                "rolling": self.is_rolling,
                "tests": [dataclasses.asdict(one) for one in self.membership],
            },
        }


def audit_summary(
    store: Store, record: SummaryRecord, seed: int, listener: DistillListener
) -> Audit:
    """Compare a summary with the users of its periods, and one made of half of them with all.

    The stored summary was made of all users; for the membership test one is made of a random
    half of the users, with the same settings and half as many synthetic users, and period by period
    if the stored one is rolling. Users of dropped periods cannot be compared.

    Raises:
        UserError: the summary was deleted, its periods have too few users, or their log is dropped.
    """
    summary = read_summary(store, record).rows
    first = max(record.first_period, first_retained_period(store))
    if first > record.period:
        raise UserError(
            f"the log of {describe_periods(record.first_period, record.period)} is dropped, so "
            "that no user is left to compare the summary with; audit a summary before its periods "
            "are dropped"
        )
    rows = read_rows(store, first, record.period, num_items=count_known_items(store, record.period))
    chosen = _sample(len(rows.users), derive_seed(seed, "audit users"))
    if len(chosen) < _FEWEST_USERS:
        raise UserError(
            f"{describe_periods(first, record.period)} has {len(chosen)} users in the log; "
            f"an audit needs at least {_FEWEST_USERS}"
        )
    real = rows.interactions[chosen]
    nearness = measure_nearness(summary, real, derive_seed(seed, "audit halves"))
    inside, outside = split_users(len(chosen), derive_seed(seed, "audit members"))
    rolling = is_rolling(store, record)
    halves = _HalfSummary(store, record, rows.users[chosen[inside]], seed, listener)
    half = halves.distil_rolling(first) if rolling else halves.distil(first)
    tests = tuple(
        membership_test(
            half.rows, real[inside], real[outside], similarity, derive_seed(seed, "audit bootstrap")
        )
        for similarity in SIMILARITIES
    )
    return Audit(
        record, first, rolling, len(chosen), len(rows.users), nearness, tests, half.num_rows
    )


@dataclass(frozen=True)
class _HalfSummary:
    """A summary of some users, made as `record` was, with half as many synthetic users."""

    store: Store
    record: SummaryRecord
    users: NDArray[np.int32]
    seed: int
    listener: DistillListener

    def distil(self, first: int) -> Summary:
        """Distil the users' interactions from a period on, all at once."""
        seed = derive_seed(self.seed, "audit summary")
        rows = TrainingRows.of_users(self._rows(first, self.record.period))
        summary = distill(rows, self._settings, seed, listener=self.listener)
        if summary.report.get("interrupted"):
            raise KeyboardInterrupt
        return summary

    def distil_rolling(self, first: int) -> Summary:
        """Extend a summary period by period."""
        summary: Summary | None = None
        seen = np.zeros(0, dtype=np.int32)
        for period in range(first, self.record.period + 1):
            rows = self._rows(period, period)
            is_new = ~np.isin(rows.users, seen)
            seen = np.union1d(seen, rows.users)
            seed = derive_seed(self.seed, "audit summary", period)
            training = TrainingRows.of_users(rows)
            summary = extend_summary(summary, training, is_new, self._settings, seed)
        if summary is None or summary.num_rows == 0:
            raise ValueError("the users have no interaction in these periods")
        return summary

    def _rows(self, first: int, last: int) -> UserRows:
        rows = read_rows(self.store, first, last, num_items=count_known_items(self.store, last))
        chosen = np.flatnonzero(np.isin(rows.users, self.users))
        return UserRows(rows.users[chosen], rows.interactions[chosen], rows.last_period[chosen])

    @property
    def _settings(self) -> DistillSettings:
        """Settings of the record, with half as many synthetic users."""
        settings = DistillSettings(
            **{**self.record.settings, "regs": tuple(self.record.settings["regs"])}
        )
        budget = max(1, settings.num_synthetic_users // 2)
        return dataclasses.replace(settings, num_synthetic_users=budget)


def describe_periods(first: int, last: int) -> str:
    """Name a range of periods."""
    return f"period {last}" if first == last else f"periods {first}–{last}"


def _sample(num_users: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of at most `MAX_USERS` users, ascending."""
    if num_users <= MAX_USERS:
        return np.arange(num_users)
    return np.sort(np.random.default_rng(seed).choice(num_users, MAX_USERS, replace=False))
