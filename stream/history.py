"""The log up to a period: strategies and memories read the log only through `History`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import (
    UserRows,
    count_known_items,
    find_active_users,
    read_events,
    read_rows,
)
from perennial.storage.log.periods import fingerprint, first_retained_period
from perennial.storage.log.sort import mix64
from perennial.storage.store import Store


@dataclass(frozen=True)
class HeldOutUsers:
    """A random share, in (0, 1), of all users, always the same ones as the log grows."""

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise UserError(f"share {self.share} of held-out users is not between 0 and 1")

    def mask(self, users: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which users are held out: `(n,)` int32 dense indices -> `(n,)` bool."""
        mixed = mix64(users.astype(np.uint64) + np.uint64(derive_seed(self.seed, "held-out users")))
        chosen: NDArray[np.bool_] = mixed / 2.0**64 < self.share
        return chosen


@dataclass(frozen=True)
class History:
    """The log up to the end of a period; nothing later can be read through it.

    Attributes:
        period: t, the newest readable period.
        held_out: users whose rows are hidden; items that only they have count as known.
        min_user_events: users with fewer events in periods ≤ t are hidden from `rows`.
    """

    store: Store
    period: int
    held_out: HeldOutUsers | None = None
    min_user_events: int | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of all that can be read."""
        log = fingerprint(self.store, self.period)
        if self.held_out is None:
            return log
        return f"{log} without {self.held_out.share!r} of its users by seed {self.held_out.seed}"

    @property
    def num_items(self) -> int:
        """d_t, the number of items that occur in periods ≤ t."""
        return count_known_items(self.store, self.period)

    def rows(self, first: int, last: int | None = None) -> UserRows:
        """Read the users of periods `first..last` (by default t), with their interactions in them.

        Raises:
            ValueError: the range reaches past t.
            UserError: the events of the range were dropped from the store.
        """
        last = self.period if last is None else last
        if last > self.period:
            raise ValueError(f"period {last} is not known at the end of period {self.period}")
        retained = first_retained_period(self.store)
        if first < retained:
            raise UserError(
                f"period {first} is needed, but the store holds interactions only from period "
                f"{retained} on; choose a strategy that needs no more, such as distill-cf"
            )
        rows = read_rows(self.store, first, last, num_items=self.num_items)
        shown = np.ones(len(rows.users), np.bool_)
        if self.held_out is not None:
            shown &= ~self.held_out.mask(rows.users)
        if self.min_user_events is not None:
            if retained > 1:
                raise UserError(
                    "--min-user-events counts the interactions of all periods, but the store holds "
                    f"them only from period {retained} on; leave it out"
                )
            active = find_active_users(self.store, self.period, self.min_user_events)
            shown &= np.isin(rows.users, active)
        if shown.all():
            return rows
        seen = np.flatnonzero(shown)
        return UserRows(rows.users[seen], rows.interactions[seen], rows.last_period[seen])

    def active_rows(self) -> UserRows:
        """Read the users of period t, each with all interactions up to t that the store holds."""
        active = self.rows(first=self.period)
        if self.period == 1 or len(active.users) == 0:
            return active
        return read_rows(self.store, 1, self.period, num_items=self.num_items, users=active.users)

    def last_items(self) -> NDArray[np.int32]:
        """Return the item of each user's last event in period t: `(n,)`, users as in `rows(t)`."""
        events = read_events(self.store, self.period, self.period)
        users, from_the_end = np.unique(events.users[::-1], return_index=True)
        items: NDArray[np.int32] = events.items[::-1][from_the_end]
        return items if self.held_out is None else items[~self.held_out.mask(users)]
