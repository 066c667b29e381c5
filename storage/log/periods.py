"""The ledger of periods, and fingerprints of the log up to a period."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from perennial.storage.base import sparse_bytes
from perennial.storage.store import Store


@dataclass(frozen=True)
class PeriodSummary:
    """One period of the log.

    Attributes:
        period: its number, from 1.
        source: name of its file or files.
        first_time: of the first event, µs since 1970 (UTC), or its line without times.
        last_time: of the last event, likewise.
        has_clock: True if times are times, and not line numbers.
        new_users: users that occur in no earlier period; `new_items` likewise.
        content_hash: SHA-256 of its events and new identifiers, order included.
        kept: number of events that are still stored; after they were dropped, those that remain as
            users' histories.
        dropped: True after the events were dropped.
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
    dropped: bool = False


def list_periods(store: Store) -> tuple[PeriodSummary, ...]:
    """List all periods of a store, oldest first."""
    rows = store.rows(
        """SELECT period, source, first_time, last_time, has_clock, interactions, users, items,
        new_users, new_items, content_hash, kept, dropped FROM periods ORDER BY period"""
    )
    return tuple(PeriodSummary(*row) for row in rows)


def log_bytes(periods: Iterable[PeriodSummary], first: int, last: int) -> int:
    """Return the bytes of periods `first` to `last` as sparse rows, one of each user and period.

    Every interaction counts, also a repeated one, and one that is no longer stored.
    """
    chosen = [one for one in periods if first <= one.period <= last]
    return sum(sparse_bytes(one.users, one.interactions) for one in chosen)


def fingerprint(store: Store, last: int) -> str:
    """Hash the content of periods ≤ `last`, order included.

    Two stores with the same events in the same order and the same cuts up to `last` have the same
    fingerprint, whatever follows and whatever files the events came from.
    """
    digest = hashlib.sha256()
    for summary in list_periods(store):
        if summary.period <= last:
            digest.update(f"{summary.period}:{summary.content_hash}\n".encode())
    return digest.hexdigest()


def first_retained_period(store: Store) -> int:
    """Return the oldest period whose events are all stored; 1 if none was dropped."""
    (dropped,) = store.rows("SELECT coalesce(max(period), 0) FROM periods WHERE dropped")
    return int(dropped[0]) + 1
