"""The log up to a period: the only door through which strategies and memories read it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import UserRows, count_known_items, read_events, read_rows
from perennial.storage.log.periods import fingerprint, first_retained_period
from perennial.storage.store import Store
from perennial.stream.seeds import derive_seed


@dataclass(frozen=True)
class HeldOutUsers:
    """A share of all users, drawn by seed; who belongs to it never changes as the log grows.

    Attributes:
        share: of the users, in (0, 1).
        seed: of the draw.
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise UserError(f"share {self.share} of held-out users is not between 0 and 1")

    def mask(self, users: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each user, by vocabulary index, is held out: `(n,)` -> `(n,)` bool."""
        mixed = users.astype(np.uint64) + np.uint64(derive_seed(self.seed, "held-out users"))
        # The finaliser of SplitMix64: neighbouring indices come out unrelated.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        uniform = (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
        chosen: NDArray[np.bool_] = uniform < self.share
        return chosen


@dataclass(frozen=True)
class History:
    """All that is known at the end of a period; nothing later can be read through it.

    Attributes:
        store: where the log lies.
        period: t, the newest period that may be seen.
        held_out: users whose rows are not seen; the items they brought are known all the same.
    """

    store: Store
    period: int
    held_out: HeldOutUsers | None = None

    @property
    def fingerprint(self) -> str:
        """Of all that can be seen."""
        log = fingerprint(self.store, self.period)
        if self.held_out is None:
            return log
        return f"{log} without {self.held_out.share!r} of its users by seed {self.held_out.seed}"

    @property
    def num_items(self) -> int:
        """d_t, the items seen in periods ≤ t."""
        return count_known_items(self.store, self.period)

    def rows(self, first: int, last: int | None = None) -> UserRows:
        """The users of a range of periods with what they did in it.

        Args:
            first: the first period of the range.
            last: the last one, t unless told.

        Raises:
            ValueError: the range reaches past t.
            UserError: the store no longer holds the events of the range.
        """
        last = self.period if last is None else last
        if last > self.period:
            raise ValueError(f"period {last} is not known at the end of period {self.period}")
        held = first_retained_period(self.store)
        if first < held:
            raise UserError(
                f"period {first} is needed, but the store holds interactions only from period "
                f"{held} on; choose a strategy that needs no more, such as distill-cf with "
                "--memory-policy rolling"
            )
        found = read_rows(self.store, first, last, num_items=self.num_items)
        if self.held_out is None:
            return found
        seen = np.flatnonzero(~self.held_out.mask(found.users))
        return UserRows(found.users[seen], found.interactions[seen], found.last_period[seen])

    def last_items(self) -> NDArray[np.int32]:
        """The item of each user's last event in period t: `(n,)`, the users as in `rows(t)`."""
        events = read_events(self.store, self.period, self.period)
        users, from_the_end = np.unique(events.users[::-1], return_index=True)
        items: NDArray[np.int32] = events.items[::-1][from_the_end]
        return items if self.held_out is None else items[~self.held_out.mask(users)]
