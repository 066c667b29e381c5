"""The privacy audit of a summary in a store: nearness and membership, see `privacy`."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillListener
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
from perennial.storage.log.matrices import count_known_items, read_rows
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
        users: number of real users of its periods that were compared.
        users_given: number of all users of its periods.
        nearness: nearness of the stored summary to the users.
        membership: results by similarity, for a summary made of one half of these users.
        half: number of synthetic users of that summary.
    """

    record: SummaryRecord
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
                "tests": [dataclasses.asdict(one) for one in self.membership],
            },
        }


def audit_summary(
    store: Store, record: SummaryRecord, seed: int, listener: DistillListener
) -> Audit:
    """Compare a summary with the users of its periods, and one made of half of them with all.

    The stored summary was made of all users; for the membership test one is made of a random
    half of the users, with the same settings and half as many synthetic users.

    Raises:
        UserError: the summary was deleted, or its periods have too few users.
    """
    summary = read_summary(store, record).rows
    rows = read_rows(
        store, record.first_period, record.period, num_items=count_known_items(store, record.period)
    )
    real, given = _sampled(TrainingRows.of_users(rows), derive_seed(seed, "audit users"))
    if real.num_rows < _FEWEST_USERS:
        raise UserError(
            f"period {record.period} has {real.num_rows} users in the log; "
            f"an audit needs at least {_FEWEST_USERS}"
        )
    nearness = measure_nearness(summary, real.interactions, derive_seed(seed, "audit halves"))
    half, membership = _membership(real, record, seed, listener)
    return Audit(record, real.num_rows, given, nearness, membership, half)


def _membership(
    real: TrainingRows, record: SummaryRecord, seed: int, listener: DistillListener
) -> tuple[int, tuple[Membership, ...]]:
    inside, outside = split_users(real.num_rows, derive_seed(seed, "audit members"))
    made_of = {**record.settings, "regs": tuple(record.settings["regs"])}
    settings = DistillSettings(**made_of)
    settings = dataclasses.replace(
        settings, num_synthetic_users=max(1, settings.num_synthetic_users // 2)
    )
    members = real.take(inside)
    summary = distill(members, settings, derive_seed(seed, "audit summary"), listener=listener)
    if summary.report.get("interrupted"):
        raise KeyboardInterrupt
    tests = tuple(
        membership_test(
            summary.rows,
            members.interactions,
            real.interactions[outside],
            similarity,
            derive_seed(seed, "audit bootstrap"),
        )
        for similarity in SIMILARITIES
    )
    return summary.num_rows, tests


def _sampled(rows: TrainingRows, seed: int) -> tuple[TrainingRows, int]:
    """Return at most `MAX_USERS` rows, and the number of all."""
    if rows.num_rows <= MAX_USERS:
        return rows, rows.num_rows
    chosen = np.random.default_rng(seed).choice(rows.num_rows, MAX_USERS, replace=False)
    chosen.sort()
    return rows.take(chosen), rows.num_rows
