"""Events that come late: of a time that the store has a period of already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class MergedEvents:
    """Late events that were taken in.

    Attributes:
        periods: that they belong to.
        equal: how many were there already.
    """

    periods: tuple[int, ...]
    equal: int


def describe_overlap(store: Store, log: OrderedLog) -> str | None:
    """How a log that would be the next period lies with those that are there; `None` where well.

    A log may begin at the very time that the newest period ends with. Without clocks there is
    nothing to compare.
    """
    timed = [one for one in list_periods(store) if one.has_clock]
    if not timed or not log.has_clock or int(log.times[0]) >= timed[-1].last_time:
        return None
    newest, last = timed[-1], int(log.times[-1])
    if last < newest.first_time:
        return f"its interactions are older than period {newest.period}, the newest"
    met = [one.period for one in timed if _meet(one, int(log.times[0]), last)]
    return f"its interactions overlap period {met[-1]} in time"


def _meet(period: PeriodSummary, first: int, last: int) -> bool:
    return period.first_time <= last and first < period.last_time


def merge_late(
    store: Store, log: OrderedLog, tie_seed: int, name: str, finish: Callable[[Store, int], None]
) -> MergedEvents:
    """Put events among those of the periods that they belong to, and write the store anew.

    A period lasts until the next one begins; the first one takes all that is older, the newest one
    what is a little newer.

    Args:
        store: open for writing, with a file.
        log: late events, ordered; its cut is of no meaning.
        tie_seed: of the order of events at equal times.
        name: of the file that they come from.
        finish: enters in the new store, inside the transaction, what else goes into it, and is told
            how many events were there already.

    Raises:
        UserError: a period that they belong to is no longer held, some period has no times, most
            of them are no late ones, or the new file cannot be written; everything is as before.
    """
    summaries = list_periods(store)
    _check_late(summaries, log, name)
    begins = np.array([one.first_time for one in summaries[1:]], np.int64)
    periods = np.searchsorted(begins, log.times, side="right") + 1
    first = int(periods[0])
    for one in summaries:
        if one.kept == 0 and (periods == one.period).any():
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
        # The times it is given are used up.
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
    return MergedEvents(tuple(sorted(touched)), equal)


def _check_late(periods: Sequence[PeriodSummary], log: OrderedLog, name: str) -> None:
    """See that events can be put among those of the periods, and belong there.

    Raises:
        UserError: they do not.
    """
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
    """A vocabulary with what comes late, and the late codes as places in it."""
    kind = join_kinds(words.kind, late.kind, f"the file's {vocabulary.table}")
    place_of = find_indices(late.ids, words.ids).copy()
    is_new = place_of < 0
    place_of[is_new] = len(words.ids) + np.arange(np.count_nonzero(is_new))
    ids = pa.concat_arrays([words.ids, late.ids.filter(pa.array(is_new))])
    return GrowingVocabulary(ids, kind, words.first_periods), place_of[late.codes]
