"""Late events: of a time for which the store has a period already."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.log.append import OrderedLog
from perennial.storage.log.periods import PeriodSummary, list_periods
from perennial.storage.log.rewrite import (
    GrowingVocabulary,
    PeriodEvents,
    find_indices,
    read_vocabulary,
    rewrite_log,
)
from perennial.storage.log.sort import LogRows, hash_identifiers, order_log
from perennial.storage.log.vocabulary import ITEMS, USERS, Vocabulary
from perennial.storage.reading.identifiers import Encoded, join_kinds
from perennial.storage.store import Store


def describe_overlap(store: Store, log: OrderedLog) -> str | None:
    """Say how a new period would overlap those of the store; `None` if it is later.

    It may begin at the very time of the newest period's end. Without times nothing is compared.
    """
    timed = [one for one in list_periods(store) if one.has_clock]
    if not timed or not log.has_clock or int(log.times[0]) >= timed[-1].last_time:
        return None
    newest, last = timed[-1], int(log.times[-1])
    if last < newest.first_time:
        return f"its interactions are older than period {newest.period}, the newest"
    overlapped = [
        one.period for one in timed if one.first_time <= last and log.times[0] < one.last_time
    ]
    return f"its interactions overlap period {overlapped[-1]} in time"


def merge_late(
    store: Store, log: OrderedLog, tie_seed: int, name: str, finish: Callable[[Store, int], None]
) -> tuple[tuple[int, ...], int]:
    """Insert events into the periods that they belong to, and rewrite the store.

    A period lasts until the next one begins; the first one includes all older events, the newest
    one also slightly newer ones.

    The late events are sorted; their cut is ignored. `finish` records everything else in the new
    store, inside the transaction; it is called with the number of events that the store had
    already.

    Returns:
        Numbers of the periods of the events, and number of events that the store had already.

    Raises:
        UserError: a period that they belong to was dropped, some period has no times, most of them
            are not late, or the new file cannot be written; everything is as before.
    """
    summaries = list_periods(store)
    _check_late(summaries, log, name)
    begins = np.array([one.first_time for one in summaries[1:]], np.int64)
    periods = np.searchsorted(begins, log.times, side="right") + 1
    first = int(periods[0])
    for one in summaries:
        if one.dropped and (periods == one.period).any():
            raise UserError(
                f"{name}: some of it belongs to period {one.period}, whose interactions are no "
                "longer held; take these lines out"
            )
    users, user_codes = _join(read_vocabulary(store, USERS), log.users, USERS)
    items, item_codes = _join(read_vocabulary(store, ITEMS), log.items, ITEMS)
    hashes = [hash_identifiers(words.ids, tie_seed) for words in (users, items)]
    equal = 0

    def edit(period: int, events: PeriodEvents) -> PeriodEvents:
        nonlocal equal
        late = np.flatnonzero(periods == period)
        if not len(late):
            return events
        both = PeriodEvents(
            np.concatenate([events.users, user_codes[late]]),
            np.concatenate([events.items, item_codes[late]]),
            np.concatenate([events.times, log.times[late]]),
        )
        # `order_log` overwrites the times.
        order = order_log(LogRows(both.times.copy(), 1, both.users, both.items, *hashes))
        equal += order.merged
        return both.take(order.rows)

    touched = set(periods.tolist())
    rewrite_log(
        store,
        users,
        items,
        edit,
        first,
        sources=lambda period, source: f"{source} and {name}" if period in touched else source,
        finish=lambda new: finish(new, equal),
    )
    return tuple(sorted(touched)), equal


def _check_late(periods: Sequence[PeriodSummary], log: OrderedLog, name: str) -> None:
    """Check that all periods have times, and most events are late; raise `UserError` otherwise."""
    for one in periods:
        if not one.has_clock:
            raise UserError(
                f"{name}: cannot be merged, since period {one.period} was taken without times"
            )
    newest = periods[-1]
    newer = int(np.count_nonzero(log.times > newest.last_time))
    if 2 * newer > len(log.times):
        raise UserError(
            f"{name}: {newer:,} of its {len(log.times):,} interactions are newer than period "
            f"{newest.period}, the newest; put them in a file of their own, which is the next one"
        )


def _join(
    words: GrowingVocabulary, late: Encoded, vocabulary: Vocabulary
) -> tuple[GrowingVocabulary, NDArray[np.int32]]:
    """Append late identifiers to a vocabulary, and return the late codes as indices into it."""
    kind = join_kinds(words.kind, late.kind, f"the file's {vocabulary.table}")
    index_of = find_indices(late.ids, words.ids).copy()
    is_new = index_of < 0
    index_of[is_new] = len(words.ids) + np.arange(np.count_nonzero(is_new))
    ids = pa.concat_arrays([words.ids, late.ids.filter(pa.array(is_new))])
    return GrowingVocabulary(ids, kind, words.first_periods), index_of[late.codes]
