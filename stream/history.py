"""The log up to a period: the only door through which strategies and memories read it."""

from dataclasses import dataclass

from storage.matrices import UserRows, count_known_items, read_rows
from storage.store import Store


@dataclass(frozen=True)
class History:
    """All that is known at the end of a period; nothing later can be read through it.

    Attributes:
        store: where the log lies.
        period: t, the newest period that may be seen.
    """

    store: Store
    period: int

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
        """
        last = self.period if last is None else last
        if last > self.period:
            raise ValueError(f"period {last} is not known at the end of period {self.period}")
        return read_rows(self.store, first, last, num_items=self.num_items)
