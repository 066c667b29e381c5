"""Ranges of periods of the log as matrices and arrays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.store import Store

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class UserRows:
    """Interactions of users in a range of periods.

    Attributes:
        users: `(n,)` int32 dense user indices.
        interactions: `(n, num_items)` float32 binary, columns in increasing order.
        last_period: `(n,)` int32, newest period of the range with an event of the user; 0 for an
            empty row.
    """

    users: NDArray[np.int32]
    interactions: "csr_array"
    last_period: NDArray[np.int32]


@dataclass(frozen=True)
class Events:
    """Events in log order.

    Attributes:
        users: `(n,)` int32 dense indices.
        items: `(n,)` int32 dense indices.
        times: `(n,)` int64, µs since 1970 (UTC), or line numbers if the log has no times.
        periods: `(n,)` int32, period of each event.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    periods: NDArray[np.int32]

    def take(self, places: NDArray[np.intp]) -> "Events":
        """Return the events at positions `(m,)`."""
        return Events(
            self.users[places], self.items[places], self.times[places], self.periods[places]
        )


def read_rows(
    store: Store, first: int, last: int, *, num_items: int, users: NDArray[np.int32] | None = None
) -> UserRows:
    """Read the users of periods `first..last` as binary rows; memory is O(events read).

    The rows are `num_items` = d_t wide. They are those of `users` `(n,)` int32 in this order, empty
    ones included; by default of all users with an event in the range, by increasing index.

    Raises:
        ValueError: the range holds an item outside `num_items`.
    """
    periods = _find_periods(store, first, last)
    if users is None:
        table = store.table(
            "SELECT user_index, item_index, rowid FROM interactions WHERE rowid >= ? AND rowid < ?",
            periods.ends,
        )
        row_users, items, places = (column.to_numpy() for column in table.columns)
        users, rows = np.unique(row_users, return_inverse=True)
    else:
        users = np.ascontiguousarray(users, np.int32)
        table = store.table(
            """SELECT row, item_index, interactions.rowid FROM interactions
            JOIN requested USING (user_index)
            WHERE interactions.rowid >= ? AND interactions.rowid < ?""",
            periods.ends,
            inputs={"requested": pa.table({"row": np.arange(len(users)), "user_index": users})},
        )
        rows, items, places = (column.to_numpy() for column in table.columns)
    if items.size and int(items.max()) >= num_items:
        raise ValueError(f"periods {first}..{last} hold item {items.max()}, outside {num_items}")
    last_period = np.zeros(len(users), np.int32)
    np.maximum.at(last_period, rows, periods.of(places))
    return UserRows(users, _binary_rows(rows, items, (len(users), num_items)), last_period)


def _binary_rows(
    rows: NDArray[np.int64], items: NDArray[np.int32], shape: tuple[int, int]
) -> "csr_array":
    # Here, as `ingest` reads events alone and need not import SciPy.
    from scipy.sparse import csr_array

    cells = np.sort(rows.astype(np.int64) * shape[1] + items)
    # `np.unique` hashes if only values are requested, which takes far longer (NumPy 2.4).
    cells = cells[np.concatenate([[True], cells[1:] != cells[:-1]])] if len(cells) else cells
    row_of_cell, columns = np.divmod(cells, max(shape[1], 1))
    kind = np.int32 if len(cells) < 2**31 else np.int64
    starts = np.searchsorted(row_of_cell, np.arange(shape[0] + 1)).astype(kind)
    data = np.ones(len(cells), np.float32)
    return csr_array((data, columns.astype(kind), starts), shape=shape)


def read_events(store: Store, first: int, last: int) -> Events:
    """Read the events of periods `first..last`, both included, in log order."""
    periods = _find_periods(store, first, last)
    table = store.table(
        """SELECT user_index, item_index, time, rowid FROM interactions
        WHERE rowid >= ? AND rowid < ?""",
        periods.ends,
    )
    users, items, times, places = (column.to_numpy() for column in table.columns)
    # They nearly always arrive in order, and the check is cheaper than ORDER BY.
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places)
        users, items, times, places = (column[order] for column in (users, items, times, places))
    return Events(users, items, times, periods.of(places))


def read_last_events(store: Store, last: int, most: int) -> Events:
    """Read each user's last events of the `most` newest items in periods ≤ `last`, in log order.

    An item counts at its last event, and the order of the log decides between equal times.
    """
    periods = _find_periods(store, 1, last if most else 0)
    table = store.table(
        """SELECT user_index, item_index, arg_max(time, rowid), max(rowid) AS place
        FROM interactions WHERE rowid < ? GROUP BY user_index, item_index
        QUALIFY row_number() OVER (PARTITION BY user_index ORDER BY place DESC) <= ?
        ORDER BY place""",
        [periods.ends[1], most],
    )
    users, items, times, places = (column.to_numpy() for column in table.columns)
    return Events(users, items, times, periods.of(places))


@dataclass(frozen=True)
class _Periods:
    """Positions of a range of periods in the log.

    Attributes:
        numbers: `(p,)` int32.
        starts: `(p,)` int64, position of each period's first event.
        ends: position of the first event of all, and position after the last.
    """

    numbers: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: tuple[int, int]

    def of(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the period of each position: `(n,)` int64 -> `(n,)` int32."""
        return self.numbers[np.searchsorted(self.starts, places, side="right") - 1]


def _find_periods(store: Store, first: int, last: int) -> _Periods:
    rows = store.rows(
        """SELECT period, first_row, first_row + kept FROM periods
        WHERE period BETWEEN ? AND ? AND kept > 0 ORDER BY period""",
        [first, last],
    )
    numbers = np.array([row[0] for row in rows], np.int32)
    starts = np.array([row[1] for row in rows], np.int64)
    return _Periods(numbers, starts, (rows[0][1], rows[-1][2]) if rows else (0, 0))


def count_known_items(store: Store, period: int) -> int:
    """Return d_t, the number of items of periods ≤ `period`; their indices are 0..d_t−1."""
    query = "SELECT coalesce(sum(new_items), 0) FROM periods WHERE period <= ?"
    return int(store.rows(query, [period])[0][0])


def count_known_users(store: Store, period: int) -> int:
    """Return the number of users of periods ≤ `period`; their indices are the smallest."""
    query = "SELECT coalesce(sum(new_users), 0) FROM periods WHERE period <= ?"
    return int(store.rows(query, [period])[0][0])


def find_active_users(store: Store, last: int, least: int) -> NDArray[np.int32]:
    """Return the users with at least `least` events in periods ≤ `last`: `(n,)` int32."""
    table = store.table(
        """SELECT user_index FROM interactions WHERE rowid < ?
        GROUP BY user_index HAVING count(*) >= ?""",
        [_find_periods(store, 1, last).ends[1], least],
    )
    users: NDArray[np.int32] = table.column(0).to_numpy()
    return users


def read_item_counts(store: Store, last: int, num_items: int) -> NDArray[np.int64]:
    """Count events per item in periods ≤ `last`: `(num_items,)` int64, without later items.

    Dropped events count too, all of them: `last` is not before the newest dropped period.
    """
    table = store.table(
        """SELECT item_index, sum(events)::BIGINT FROM (
            SELECT item_index, count(*) AS events FROM interactions WHERE rowid < $1 GROUP BY ALL
            UNION ALL FROM dropped_item_counts)
        WHERE item_index < $2 GROUP BY item_index""",
        [_find_periods(store, 1, last).ends[1], num_items],
    )
    items, events = (column.to_numpy() for column in table.columns)
    counts = np.zeros(num_items, np.int64)
    counts[items] = events
    return counts
