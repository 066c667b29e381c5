"""Appending ordered events to the log: vocabularies, events, periods, rejects, in that order."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.log.vocabulary import ITEMS, USERS, Vocabulary, extend
from perennial.storage.parallel import CACHE_ROWS, over_blocks, run_all
from perennial.storage.reading.identifiers import Encoded
from perennial.storage.store import Store


@dataclass(frozen=True)
class OrderedLog:
    """Events in log order, cut into periods.

    Attributes:
        times: `(n,)` int64, sorted.
        has_clock: True if `times` are times and not lines.
        edges: `(p + 1,)` int64; new period k holds the events edges[k]..edges[k+1]−1.
    """

    users: Encoded
    items: Encoded
    times: NDArray[np.int64]
    has_clock: bool
    edges: NDArray[np.int64]


@dataclass(frozen=True)
class _Indexed:
    """A column as dense indices.

    Attributes:
        indices: `(n,)` int32.
        distinct: number of distinct identifiers, per period.
    """

    indices: NDArray[np.int32]
    new_ids: list[list[str]]
    distinct: list[int]


@dataclass(frozen=True)
class _Appearances:
    """Codes `(m,)` in order of first appearance, and the position `(m,)` of that."""

    codes: NDArray[np.int64]
    first: NDArray[np.int64]


def append_log(store: Store, log: OrderedLog, ingest: int, source: str) -> tuple[int, ...]:
    """Append events as the next periods, inside a transaction, and return the numbers of these.

    The codes of the log are overwritten: their memory is reused for the indices. `source` is the
    name of the file or files. If identifiers are of another kind than the store's, it is a
    `UserError`.
    """
    last, first_row = store.rows(
        "SELECT coalesce(max(period), 0), coalesce(max(first_row + kept), 0) FROM periods"
    )[0]
    numbers = np.arange(last + 1, last + len(log.edges), dtype=np.int32)
    appearances = run_all(
        [
            partial(_find_appearances, column.codes, len(column.ids))
            for column in (log.users, log.items)
        ]
    )
    users = _index(store, USERS, log.users, appearances[0], log.edges, numbers)
    items = _index(store, ITEMS, log.items, appearances[1], log.edges, numbers)
    events = {"user_index": users.indices, "item_index": items.indices, "time": log.times}
    store.insert("interactions", pa.table(events))
    periods = _summarise(log, users, items)
    periods["period"] = numbers
    periods["ingest"] = np.full(len(numbers), ingest, np.int32)
    periods["source"] = [source] * len(numbers)
    periods["first_row"] = log.edges[:-1] + first_row
    store.insert("periods", pa.table(periods))
    return tuple(numbers.tolist())


def _index(
    store: Store,
    vocabulary: Vocabulary,
    column: Encoded,
    appearances: _Appearances,
    edges: NDArray[np.int64],
    numbers: NDArray[np.int32],
) -> _Indexed:
    ids = column.ids.take(pa.array(appearances.codes))
    period = np.searchsorted(edges, appearances.first, side="right") - 1
    indices, is_new = extend(store, vocabulary, ids, numbers[period], column.kind)
    index_of = np.zeros(len(column.ids), np.int32)
    index_of[appearances.codes] = indices
    new_ids = ids.filter(pa.array(is_new)).to_pylist()
    splits = np.searchsorted(period[is_new], np.arange(len(numbers) + 1)).tolist()
    distinct = _count_distinct(column.codes, len(column.ids), edges)

    def translate(start: int, stop: int) -> None:
        column.codes[start:stop] = index_of[column.codes[start:stop]]

    over_blocks(translate, len(column.codes))
    return _Indexed(
        column.codes, [new_ids[start:stop] for start, stop in pairwise(splits)], distinct
    )


def _find_appearances(codes: NDArray[np.int32], num_codes: int) -> _Appearances:
    first = np.full(num_codes, len(codes), np.int64)
    # Backwards: NumPy keeps the last of several values for one index, here the first appearance.
    for start in range((len(codes) - 1) // CACHE_ROWS * CACHE_ROWS, -1, -CACHE_ROWS):
        part = codes[start : start + CACHE_ROWS]
        first[part[::-1]] = np.arange(start + len(part) - 1, start - 1, -1)
    present = np.flatnonzero(first < len(codes))
    in_order = present[np.argsort(first[present])]
    return _Appearances(in_order, first[in_order])


def _count_distinct(
    codes: NDArray[np.int32], num_codes: int, edges: NDArray[np.int64]
) -> list[int]:
    def count(part: int, _stop: int) -> int:
        of_period = codes[edges[part] : edges[part + 1]]
        if 8 * len(of_period) < num_codes:
            in_order = np.sort(of_period)
            return 1 + int(np.count_nonzero(in_order[1:] != in_order[:-1]))
        return int(np.count_nonzero(np.bincount(of_period, minlength=num_codes)))

    return over_blocks(count, len(edges) - 1, 1)


def _summarise(log: OrderedLog, users: _Indexed, items: _Indexed) -> dict[str, Any]:
    """Compute the columns of the ledger of periods, except numbers and origin."""
    starts, ends = log.edges[:-1], log.edges[1:]
    hashes = run_all(
        [
            partial(_hash_period, log.times, users, items, part, slice(start, end))
            for part, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        ]
    )
    return {
        "first_time": log.times[starts],
        "last_time": log.times[ends - 1],
        "has_clock": np.full(len(starts), log.has_clock),
        "interactions": ends - starts,
        "kept": ends - starts,
        "users": users.distinct,
        "items": items.distinct,
        "new_users": [len(ids) for ids in users.new_ids],
        "new_items": [len(ids) for ids in items.new_ids],
        "content_hash": hashes,
    }


def _hash_period(
    times: NDArray[np.int64], users: _Indexed, items: _Indexed, part: int, rows: slice
) -> str:
    """Hash a period's events in order and its new identifiers by SHA-256."""
    digest = hashlib.sha256()
    for values in (users.indices[rows], items.indices[rows], times[rows]):
        digest.update(values.data)
    digest.update(json.dumps([users.new_ids[part], items.new_ids[part]]).encode())
    return digest.hexdigest()
