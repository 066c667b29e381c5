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
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import count_known_items, read_rows
from perennial.storage.results.summaries import SummaryRecord
from perennial.storage.store import Store
from perennial.stream.seeds import derive_seed

MAX_USERS = 8192
"""More users of a stretch than these are sampled."""

_FEWEST_USERS = 4
"""With fewer there is nobody to leave out on both sides."""


@dataclass(frozen=True)
class Audit:
    """What was found of one summary.

    Attributes:
        record: the summary.
        users: real users of its stretch that were compared.
        users_given: all of them.
        nearness: of the stored summary.
        membership: by each similarity, of a summary made of one half of these users.
        half: synthetic users of that summary.
    """

    record: SummaryRecord
    users: int
    users_given: int
    nearness: Nearness
    membership: tuple[Membership, ...]
    half: int

    def to_json(self) -> dict[str, Any]:
        """Plain values; the percentiles by level."""
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
    """Compare a summary with the users of its stretch, and one made of half of them with all.

    Nobody was left out of the stored summary, so for the membership test one is made of a random
    half of the users, with the same settings and half as many synthetic users.

    Args:
        store: holds the summary and the log.
        record: which summary.
        seed: of the halves, the second summary and the bootstrap.
        listener: told of the second distillation.

    Raises:
        UserError: the summary vanished, or its stretch has too few users.
    """
    summary = read_summary(store, record).rows
    rows = read_rows(
        store,
        record.first_period,
        record.period,
        num_items=count_known_items(store, record.period),
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
    """At most `MAX_USERS` of them, and how many there were."""
    if rows.num_rows <= MAX_USERS:
        return rows, rows.num_rows
    chosen = np.random.default_rng(seed).choice(rows.num_rows, MAX_USERS, replace=False)
    chosen.sort()
    return rows.take(chosen), rows.num_rows
