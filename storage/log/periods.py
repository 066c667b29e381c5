"""The ledger of periods: what each holds, and fingerprints of the log up to one."""

import hashlib
from dataclasses import dataclass

from perennial.storage.store import Store


@dataclass(frozen=True)
class PeriodSummary:
    """One period of the log.

    Attributes:
        period: its number, from 1.
        source: name of the file (or files) it came from.
        first_time: time of the first event, µs since 1970 (UTC), or its line without a clock.
        last_time: likewise of the last.
        has_clock: whether times are times, and not line numbers.
        interactions: events.
        users: distinct users.
        items: distinct items.
        new_users: users that no earlier period has.
        new_items: items that no earlier period has.
        content_hash: SHA-256 of its events and new identifiers, order included.
        kept: how many of its events are still in the store: all, or none once they were dropped.
    """

    period: int
    source: str
    first_time: int
    last_time: int
    has_clock: bool
    interactions: int
    users: int
    items: int
    new_users: int
    new_items: int
    content_hash: str
    kept: int


def list_periods(store: Store) -> tuple[PeriodSummary, ...]:
    """All periods of a store, oldest first."""
    rows = store.rows(
        """SELECT period, source, first_time, last_time, has_clock, interactions, users, items,
        new_users, new_items, content_hash, kept FROM periods ORDER BY period"""
    )
    return tuple(PeriodSummary(*row) for row in rows)


def fingerprint(store: Store, last: int) -> str:
    """Hash the content of periods ≤ `last`, order included.

    Two stores with the same events in the same order and the same cuts up to `last` agree, whatever
    follows and whatever files they came from.
    """
    digest = hashlib.sha256()
    for summary in list_periods(store):
        if summary.period <= last:
            digest.update(f"{summary.period}:{summary.content_hash}\n".encode())
    return digest.hexdigest()


def first_retained_period(store: Store) -> int:
    """The oldest period whose events are still in the store; 1 where none was dropped."""
    (dropped,) = store.rows("SELECT coalesce(max(period), 0) FROM periods WHERE kept = 0")
    return int(dropped[0]) + 1
