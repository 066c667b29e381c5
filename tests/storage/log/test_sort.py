"""Log order against a plain sort of whole keys."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.log import sort as order
from perennial.storage.log.sort import LogRows, hash_identifiers, order_log

DAY, SECOND = 86_400_000_000, 1_000_000


def make_rows(times, users, items, seed, bits=64):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (2, 8), np.uint64) >> np.uint64(64 - bits)
    users, items = np.array(users, np.int32), np.array(items, np.int32)
    return LogRows(np.array(times, np.int64), 1, users, items, *hashes)


def copy(rows):
    """Rows whose times may be used up."""
    return replace(rows, times=rows.times.copy())


def naive(rows):
    """Distinct events in order, by Python's sort."""
    columns = (rows.times, order._hash_rows(rows, slice(None)), rows.users, rows.items)
    events = {
        (time, hashed, rows.user_hashes[user], rows.item_hashes[item], user, item)
        for time, hashed, user, item in zip(*(one.tolist() for one in columns), strict=True)
    }
    return [(event[0], event[4], event[5]) for event in sorted(events)]


def rows_in_order(rows, result):
    """(time, user, item) as an order gives them, its times compared with the rows' own."""
    users, items = result.take(rows.users), result.take(rows.items, out=rows.items.copy())
    places = result.rows
    np.testing.assert_array_equal(users, rows.users[places])
    np.testing.assert_array_equal(items, rows.items[places])
    times = result.into_times()
    np.testing.assert_array_equal(times, rows.times[places] * rows.scale)
    assert users.dtype == items.dtype == np.int32
    assert times.dtype == np.int64
    return list(zip(times.tolist(), users.tolist(), items.tolist(), strict=True))


EVENTS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40
)


@given(
    EVENTS,
    st.sampled_from([1, 1_000, SECOND, 7 * SECOND, 3_600 * SECOND, DAY, 10**13 + 1]),
    st.integers(0, 2**40),
    st.integers(0, 3),
    st.sampled_from([0, 8, 50]),
)
@settings(max_examples=200)
def test_events_are_sorted_and_equal_ones_merged(events, unit, start, seed, hash_bits):
    times, users, items = ([*column] for column in zip(*events, strict=True))
    rows = make_rows([start + time * unit for time in times], users, items, seed)
    expected = naive(rows)
    patched = pytest.MonkeyPatch()
    # With many bits wanted, times are ranked; with none, they leave no room for the hash.
    patched.setattr(order, "_ENOUGH_HASH_BITS", hash_bits)
    result = order_log(copy(rows))
    patched.undo()
    assert rows_in_order(rows, result) == expected
    assert result.merged == len(events) - len(expected)


def test_a_large_log_is_sorted_on_all_cores():
    rng = np.random.default_rng(0)
    size = 300_000
    times = rng.integers(0, 5_000, size) * SECOND
    columns = [rng.integers(0, most, size, np.int32) for most in (50, 30)]
    hashes = [rng.integers(0, 2**64, most, np.uint64) for most in (50, 30)]
    rows = LogRows(times, 1, *columns, *hashes)
    hashes = order._hash_rows(rows, slice(None))
    whole = np.lexsort((hashes, times))
    keys = np.stack([times, rows.users, rows.items], axis=1)[whole]
    distinct = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    result = order_log(copy(rows))
    np.testing.assert_array_equal(rows_in_order(rows, result), keys[distinct])
    assert result.merged == size - int(distinct.sum())


def test_ties_do_not_favour_items():
    """First places of two items at one time, each for about half of the users."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(4_000, dtype=np.int32), 2)
    items = np.tile(np.array([0, 1], np.int32), 4_000)
    hashes = rng.integers(0, 2**64, 4_002, np.uint64)
    rows = LogRows(users.astype(np.int64), SECOND, users, items, hashes[:-2], hashes[-2:])
    first = items[order_log(rows).rows[0::2]]
    # Six standard deviations of 4,000 throws of a coin.
    assert abs(first.mean() - 0.5) < 6 * 0.5 / np.sqrt(4_000)


def test_hashes_depend_on_text_and_seed_only():
    ids = pa.array(["1", "a", "", "é", "a\x00b", "ab", "ba", "\x00", "a\x00"])
    hashes = hash_identifiers(ids, 0)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == len(ids)
    for place in range(len(ids)):
        assert hash_identifiers(ids[place : place + 1], 0)[0] == hashes[place]
    assert not np.isin(hash_identifiers(ids, 1), hashes).any()
    assert not np.isin(hash_identifiers(ids, -(2**70) - 5), hashes).any()
    # Stores hold events in this order: were it to change, replays would no longer agree.
    assert (hashes[0], hashes[4]) == (hash_naively("1", 0), hash_naively("a\x00b", 0))
    assert len(hash_identifiers(pa.array([], pa.string()), 0)) == 0


def hash_naively(text, seed):
    mask = 2**64 - 1

    def mix(number):
        number = (number + 0x9E3779B97F4A7C15) & mask
        number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
        number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
        return number ^ (number >> 31)

    data = text.encode()
    start = seed * 0x9E3779B97F4A7C15
    total = sum(mix(((place << 8) + byte + start) & mask) for place, byte in enumerate(data))
    return mix((total + len(data) + start) & mask)


def test_hashes_are_spread_evenly():
    hashes = hash_identifiers(pa.array([str(number) for number in range(20_000)]), 0)
    assert len(set(hashes.tolist())) == 20_000
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    # Six standard deviations of 20,000 throws of a coin.
    assert (np.abs(bits.mean(axis=0) - 0.5) < 6 * 0.5 / np.sqrt(20_000)).all()


def test_large_vocabularies_are_hashed_like_small_ones():
    ids = pa.array([f"item {number}" for number in range(30_000)])
    hashes = hash_identifiers(ids, 5)
    np.testing.assert_array_equal(hash_identifiers(ids[20_000:20_010], 5), hashes[20_000:20_010])
