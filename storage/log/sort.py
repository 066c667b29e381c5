"""Log order: by time, equal times in a seeded order of user and item, never by line."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.parallel import CACHE_ROWS, over_blocks

_UNITS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000)
_KEY_BITS = 64
# With fewer bits of the hash next to the time, too many rows would be ties.
_ENOUGH_HASH_BITS = 8
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class LogRows:
    """Rows to be sorted.

    Attributes:
        times: `(n,)` int64.
        scale: µs per unit of `times`.
        users: `(n,)` int32, indices into `user_hashes`.
        items: `(n,)` int32, indices into `item_hashes`.
        user_hashes: `(users,)` uint64, seeded hashes of the distinct users.
        item_hashes: `(items,)` uint64, seeded hashes of the distinct items.
    """

    times: NDArray[np.int64]
    scale: int
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    user_hashes: NDArray[np.uint64]
    item_hashes: NDArray[np.uint64]


@dataclass(frozen=True)
class _Ticks:
    """Times as small numbers in the same order: first + tick · unit, or distinct[tick], in µs.

    Attributes:
        bits: number of bits of the largest tick.
        first: earliest time, µs.
        unit: µs per tick.
        distinct: `(m,)` int64, the times in µs, if ticks are ranks.
    """

    bits: int
    first: int = 0
    unit: int = 1
    distinct: NDArray[np.int64] | None = None

    def times(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the times of ticks: `(n,)` uint64 -> `(n,)` int64, µs."""
        if self.distinct is not None:
            return self.distinct[ticks]
        return ticks.view(np.int64) * self.unit + self.first


@dataclass(frozen=True)
class LogOrder:
    """Rows in log order.

    Attributes:
        keys: `(n,)` uint64, sorted: highest bits the time of a row, lowest its position.
        place_bits: number of bits of a position.
        ticks: meaning of the highest bits.
        merged: number of rows left out, as equal to a remaining one in user, item and time.
    """

    keys: NDArray[np.uint64]
    place_bits: int
    ticks: _Ticks
    merged: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions of the remaining rows, `(n,)` int64."""
        return self._places(0, len(self.keys))

    def take(
        self, values: NDArray[np.int32], out: NDArray[np.int32] | None = None
    ) -> NDArray[np.int32]:
        """Sort values of all rows, `(rows,)` int32 before sorting, into log order: `(n,)` int32.

        `out` is memory for the result.
        """
        taken = np.empty(len(self.keys), np.int32) if out is None else out[: len(self.keys)]

        def fill(start: int, stop: int) -> None:
            # The positions are in range; "clip" only avoids a buffer.
            np.take(values, self._places(start, stop), out=taken[start:stop], mode="clip")

        over_blocks(fill, len(taken))
        return taken

    def into_times(self) -> NDArray[np.int64]:
        """Return the times, `(n,)` int64 µs, in the memory of the keys, which are overwritten."""
        times = self.keys.view(np.int64)

        def decode(start: int, stop: int) -> None:
            ticks = self.keys[start:stop] >> np.uint64(_KEY_BITS - self.ticks.bits)
            times[start:stop] = self.ticks.times(ticks)

        over_blocks(decode, len(times))
        return times

    def _places(self, start: int, stop: int) -> NDArray[np.int64]:
        return (self.keys[start:stop] & np.uint64((1 << self.place_bits) - 1)).view(np.int64)


def hash_identifiers(ids: pa.StringArray, seed: int) -> NDArray[np.uint64]:
    """Hash `n` identifiers: `(n,)` uint64, the same for the same text and seed on every machine.

    The sum of one mixed number per byte and position, mixed again with the length.
    """
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    data = np.frombuffer(ids.buffers()[2] or b"", np.uint8)
    start_value = np.uint64(((seed + 1) * 0x9E3779B97F4A7C15) % 2**64)
    hashes = np.empty(len(ids), np.uint64)

    def fill(start: int, stop: int) -> None:
        edges = offsets[start : stop + 1]
        if edges[-1] - edges[0] > _HASHED_AT_ONCE and stop - start > 1:
            # Hashing takes dozens of bytes per byte.
            middle = (start + stop) // 2
            fill(start, middle)
            fill(middle, stop)
            return
        lengths = np.diff(edges)
        places = np.arange(edges[-1] - edges[0]) - np.repeat(edges[:-1] - edges[0], lengths)
        numbers = (places.astype(np.uint64) << np.uint64(8)) + data[edges[0] : edges[-1]]
        sums = np.concatenate([[np.uint64(0)], np.cumsum(mix64(numbers + start_value))])
        sums = sums[edges[1:] - edges[0]] - sums[edges[:-1] - edges[0]]
        hashes[start:stop] = mix64(sums + lengths.astype(np.uint64) + start_value)

    over_blocks(fill, len(ids), CACHE_ROWS // 8)
    return hashes


def mix64(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Let each bit depend on all, in place: the finaliser of SplitMix64 (Steele et al. 2014).

    Neighbouring `(n,)` uint64 numbers come out unrelated.
    """
    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    numbers ^= numbers >> np.uint64(31)
    return numbers


def order_log(log: LogRows) -> LogOrder:
    """Sort rows by (time, hash of user and item) and merge equal ones; there is at least one row.

    The key of a row is its time, as many bits of its hash as fit, and its position. So NumPy sorts
    plain numbers, which is fastest, and only rows that agree in the first two are compared again.
    The times are overwritten: their memory is reused for the keys.
    """
    place_bits = max(1, (len(log.times) - 1).bit_length())
    keys, ticks = _count_ticks(log, _KEY_BITS - _ENOUGH_HASH_BITS - place_bits)
    _add_hash_and_place(log, keys, _KEY_BITS - ticks.bits - place_bits, place_bits)
    keys.sort()
    tied = _find_ties(keys, place_bits)
    if not len(tied):
        return LogOrder(keys, place_bits, ticks, 0)
    repeated = _resolve_ties(log, keys, ticks.bits, place_bits, tied)
    if not len(repeated):
        return LogOrder(keys, place_bits, ticks, 0)
    return LogOrder(_leave_out(keys, repeated), place_bits, ticks, len(repeated))


def _leave_out(keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Remove the keys at some positions, in place."""
    stays = np.ones(len(keys), np.bool_)
    stays[positions] = False
    end = 0
    for start in range(0, len(keys), CACHE_ROWS):
        kept = keys[start : start + CACHE_ROWS][stays[start : start + CACHE_ROWS]]
        keys[end : end + len(kept)] = kept
        end += len(kept)
    return keys[:end]


def _add_hash_and_place(
    log: LogRows, keys: NDArray[np.uint64], hash_bits: int, place_bits: int
) -> None:
    """Turn ticks into sort keys, in place."""

    def fill(start: int, stop: int) -> None:
        key = keys[start:stop]
        key <<= np.uint64(hash_bits)
        key |= _hash_rows(log, slice(start, stop)) >> np.uint64(_KEY_BITS - hash_bits)
        key <<= np.uint64(place_bits)
        key |= np.arange(start, stop, dtype=np.uint64)

    over_blocks(fill, len(keys))


def _find_ties(keys: NDArray[np.uint64], place_bits: int) -> NDArray[np.int64]:
    """Find keys that differ from the next one only in the position."""

    def find(start: int, stop: int) -> NDArray[np.int64]:
        differences = keys[start + 1 : stop + 1] ^ keys[start : min(stop, len(keys) - 1)]
        return np.flatnonzero(differences < np.uint64(1 << place_bits)) + start

    return np.concatenate(over_blocks(find, len(keys)))


def _count_ticks(log: LogRows, max_bits: int) -> tuple[NDArray[np.uint64], _Ticks]:
    """Convert times to ticks of the largest common unit, in place; if too many, to ranks."""
    first, last = int(log.times.min()), int(log.times.max())
    unit = _find_unit(log, first)
    bits = ((last - first) // unit).bit_length()
    if bits > max_bits:
        distinct, ranks = np.unique(log.times, return_inverse=True)
        most = len(distinct) - 1
        return ranks.astype(np.uint64), _Ticks(most.bit_length(), distinct=distinct * log.scale)

    def count(start: int, stop: int) -> None:
        part = log.times[start:stop]
        part -= first
        part //= unit

    over_blocks(count, len(log.times))
    return log.times.view(np.uint64), _Ticks(bits, first * log.scale, unit * log.scale)


def _find_unit(log: LogRows, first: int) -> int:
    """Find the largest unit that divides the distance of each time from `first`."""
    sample = log.times[:1000] - first
    for micros in _UNITS:
        unit = micros // log.scale
        if unit <= 1:
            break
        if (sample % unit).any():
            continue

        def divides(start: int, stop: int, unit: int = unit) -> bool:
            return not ((log.times[start:stop] - first) % unit).any()

        if all(over_blocks(divides, len(log.times))):
            return unit
    return 1


def _hash_rows(log: LogRows, rows: slice | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash each row from the hashes of user and item; the highest bits depend on all others."""
    mixed = log.user_hashes[log.users[rows]]
    items = log.item_hashes[log.items[rows]]
    # Rotated, so that a user and an item of the same name do not cancel each other.
    mixed ^= (items << np.uint64(29)) | (items >> np.uint64(35))
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return mixed


def _resolve_ties(
    log: LogRows, keys: NDArray[np.uint64], time_bits: int, place_bits: int, tied: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Sort rows whose time and shortened hash agree by the whole hash.

    The times of the log are overwritten already. The keys `(n,)` uint64 are sorted in place; those
    at `tied` `(m,)` agree with the next one. `(k,)` int64 indices of rows equal to the one before
    in user, item and time are returned.
    """
    is_tied = np.zeros(len(keys), np.bool_)
    is_tied[tied] = is_tied[tied + 1] = True
    positions = np.flatnonzero(is_tied)
    among = keys[positions]
    rows = (among & np.uint64((1 << place_bits) - 1)).view(np.int64)
    users, items = log.user_hashes[log.users[rows]], log.item_hashes[log.items[rows]]
    hashes = _hash_rows(log, rows)
    by_hash = np.lexsort((items, users, hashes, among >> np.uint64(place_bits)))
    keys[positions] = among[by_hash]
    ticks = keys[positions] >> np.uint64(_KEY_BITS - time_bits)
    rows = rows[by_hash]
    repeats = np.zeros(len(positions), np.bool_)
    repeats[1:] = True
    for values in (log.users[rows], log.items[rows], ticks):
        repeats[1:] &= values[1:] == values[:-1]
    return positions[repeats]
