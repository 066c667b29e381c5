"""Rewriting the store: without some users, without old events, or with late events.

Dense indices follow the order of first appearance, so removed or inserted events change them, and
results from that period on are dropped. The new file is the store that would have read the changed
log from the start. It replaces the old one atomically, and nothing of the old one stays in the
folder.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.access import remove_file, rewrite_path, unfinished_path
from perennial.storage.errors import UserError
from perennial.storage.log.append import OrderedLog, append_log
from perennial.storage.log.carry_over import (
    RECORDS,
    Renumbering,
    copy_records,
    copy_tables,
    insert_dropped,
    insert_events,
    with_column,
)
from perennial.storage.log.matrices import (
    count_known_items,
    read_events,
    read_item_counts,
    read_last_events,
)
from perennial.storage.log.periods import first_retained_period
from perennial.storage.log.vocabulary import ITEMS, USERS, Vocabulary, lookup_users, read_kind
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.identifiers import STRINGS, Encoded, IdentifierKind
from perennial.storage.results.fits import sweep_model_files
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store


@dataclass(frozen=True)
class GrowingVocabulary:
    """Identifiers by dense index, new ones at the end, and `(known,)` int32 their first periods."""

    ids: pa.StringArray
    kind: IdentifierKind
    first_periods: NDArray[np.int32]


@dataclass(frozen=True)
class PeriodEvents:
    """The events of a period while they are edited.

    Attributes:
        users: `(n,)` int32, indices into `GrowingVocabulary.ids` of users.
        items: `(n,)` int32, indices into `GrowingVocabulary.ids` of items.
        times: `(n,)` int64, sorted.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    def take(self, chosen: NDArray[Any]) -> "PeriodEvents":
        """Return the events at positions `(m,)`, or where a mask `(n,)` is true."""
        return PeriodEvents(self.users[chosen], self.items[chosen], self.times[chosen])


Edit = Callable[[int, PeriodEvents], PeriodEvents]
"""A period and its events -> its new events."""


def read_vocabulary(store: Store, vocabulary: Vocabulary) -> GrowingVocabulary:
    """Read a vocabulary."""
    table = store.table(
        f"SELECT id, first_period FROM {vocabulary.table} ORDER BY {vocabulary.index}"
    )
    ids = table["id"].combine_chunks()
    kind = read_kind(store, vocabulary)
    return GrowingVocabulary(
        ids, STRINGS if kind is None else kind, table["first_period"].to_numpy()
    )


def find_indices(ids: pa.StringArray, among: pa.StringArray) -> NDArray[np.int32]:
    """Return the index of each identifier in `among`: `(n,)` int32, −1 if missing."""
    indices: NDArray[np.int32] = (
        pc.index_in(ids, value_set=among).fill_null(-1).to_numpy(zero_copy_only=False)
    )
    return indices


def drop_events(store: Store, last: int, keep_histories: int = 0) -> None:
    """Drop the events of periods ≤ `last`; the periods stay in the ledger, and so do all results.

    Each user's last events of their `keep_histories` newest items in these periods stay. So does
    the number of events of each item, over all dropped events together.

    Raises:
        UserError: the new file cannot be written; everything is as before.
    """
    with _new_file(store) as new:
        copy_tables(store, new, (*RECORDS, "identifier_kinds", "users", "items"))
        histories = read_last_events(store, last, keep_histories)
        num_items = count_known_items(store, last)
        counts = read_item_counts(store, last, num_items)
        counts -= np.bincount(histories.items, minlength=num_items)
        counted = np.flatnonzero(counts).astype(np.int32)
        dropped = {"item_index": counted, "interactions": counts[counted]}
        new.insert("dropped_item_counts", pa.table(dropped))
        periods = store.table("SELECT * FROM periods WHERE period <= ? ORDER BY period", [last])
        insert_dropped(new, periods, histories)
        retained = store.table("SELECT * FROM periods WHERE period > ? ORDER BY period", [last])
        kept = retained["kept"].to_numpy()
        first_rows = pa.array(len(histories.times) + np.cumsum(kept) - kept, pa.int64())
        new.insert("periods", with_column(retained, "first_row", first_rows))
        for number in retained["period"].to_pylist():
            insert_events(new, read_events(store, number, number))


def rewrite_log(
    store: Store,
    users: GrowingVocabulary,
    items: GrowingVocabulary,
    edit: Edit,
    first_changed: int,
    *,
    removed: NDArray[np.int32] | None = None,
    sources: Callable[[int, str], str] = lambda _period, source: source,
    finish: Callable[[Store], None] = lambda _new: None,
) -> None:
    """Rewrite the store with other events.

    `edit` returns the new events of a period, and is called for each retained period in order; the
    first that changes is `first_changed`. `removed` are the indices `(m,)` int32 of users to remove
    from the vocabulary. `sources` returns the name of a period's file from its number and the old
    name. `finish` writes everything else to the new store, inside the transaction.

    Raises:
        UserError: nothing would be left, or the new file cannot be written; everything is as
            before.
    """
    with _new_file(store) as new:
        # Items of dropped periods keep their indices; their counts are sums over all users.
        copy_tables(store, new, ("identifier_kinds", "dropped_item_counts"))
        removed = np.empty(0, np.int32) if removed is None else removed
        _copy_dropped(store, new, removed, users.first_periods[removed])
        emptied = _append_retained(store, new, users, items, edit, sources)
        if not new.rows("SELECT 1 FROM periods LIMIT 1"):
            raise UserError(f"{store.path}: nobody else is in it; delete the store instead")
        new_ids = new.table("SELECT id FROM users ORDER BY user_index")["id"].combine_chunks()
        old_ids = users.ids[: len(users.first_periods)]
        indices = find_indices(old_ids, new_ids)
        copy_records(store, new, Renumbering(indices, first_changed, emptied))
        finish(new)


@contextmanager
def _new_file(store: Store) -> Iterator[Store]:
    """Yield a new store in a transaction; afterwards it replaces the old one."""
    if store.path is None:
        raise ValueError("a store in memory cannot be rewritten")
    if store.path.stat().st_nlink > 1:
        raise UserError(
            f"{store.path}: the file has another name (a hard link), which would keep the old log; "
            "remove that name, or put a copy in place of this one"
        )
    path = rewrite_path(store.path)
    remove_file(path)
    try:
        with Store.open(path) as new, new.transaction():
            yield new
        unfinished_path(store.path).touch()
        store.replace_file(path)
    finally:
        remove_file(path)
    finish_rewriting(store)


def finish_rewriting(store: Store) -> None:
    """Remove files made from the old log: unrecorded models, checkpoints, unmerged cells.

    `Store.open` calls it too, for a rewrite that was killed before this.

    Raises:
        UserError: a file cannot be removed.
    """
    if store.path is None:
        return
    sweep_model_files(store)
    try:
        for left in store.models_folder.glob("distill-*"):
            left.unlink(missing_ok=True)
        study = store.path.with_name(store.path.name + ".study")
        if study.is_dir():
            shutil.rmtree(study)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    unfinished_path(store.path).unlink(missing_ok=True)


def _copy_dropped(
    store: Store, new: Store, removed: NDArray[np.int32], first_periods: NDArray[np.int32]
) -> None:
    """Copy the dropped periods, what stays of them, and users and items that first occur there."""
    retained = first_retained_period(store)
    for vocabulary in (USERS, ITEMS):
        rows = store.table(
            f"""SELECT * FROM {vocabulary.table} WHERE first_period < ?
            ORDER BY {vocabulary.index}""",
            [retained],
        )
        if vocabulary is USERS:
            left = pc.is_in(rows["user_index"], value_set=pa.array(removed, pa.int32()))
            rows = rows.filter(pc.invert(left))
        indices = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        new.insert(vocabulary.table, with_column(rows, vocabulary.index, indices))
    periods = store.table("SELECT * FROM periods WHERE period < ? ORDER BY period", [retained])
    changed = periods.to_pylist()
    for row in changed:
        for _ in range(np.count_nonzero(first_periods == row["period"])):
            row["users"] -= 1
            row["new_users"] -= 1
            # Not a hash of events, which are gone, but a new one: results of the period are void.
            text = f"{row['content_hash']} without"
            row["content_hash"] = hashlib.sha256(text.encode()).hexdigest()
    histories = read_events(store, 1, retained - 1)
    histories = histories.take(np.flatnonzero(~np.isin(histories.users, removed)))
    users = histories.users - np.searchsorted(np.sort(removed), histories.users).astype(np.int32)
    periods = pa.Table.from_pylist(changed, schema=periods.schema)
    insert_dropped(new, periods, dataclasses.replace(histories, users=users))


def _append_retained(
    store: Store,
    new: Store,
    users: GrowingVocabulary,
    items: GrowingVocabulary,
    edit: Edit,
    sources: Callable[[int, str], str],
) -> int | None:
    """Append the edited events period by period; return the first period that becomes empty."""
    emptied = None
    for period, ingest, source, has_clock in store.rows(
        "SELECT period, ingest, source, has_clock FROM periods WHERE NOT dropped ORDER BY period"
    ):
        old = read_events(store, period, period)
        events = edit(period, PeriodEvents(old.users, old.items, old.times))
        if not len(events.times):
            emptied = period if emptied is None else emptied
            continue
        log = OrderedLog(
            Encoded(events.users.astype(np.int32), users.ids, users.kind),
            Encoded(events.items.astype(np.int32), items.ids, items.kind),
            events.times,
            has_clock,
            np.array([0, len(events.times)]),
        )
        append_log(new, log, ingest, sources(period, source))
    return emptied


@dataclass(frozen=True)
class ErasedUser:
    """Report of an erased user.

    Attributes:
        user: the identifier.
        first_period: first period with the user; results from it on are dropped.
        interactions: number of removed events.
        summaries: number of deleted summaries, to be made again if their log is retained.
        lost_periods: periods whose summary was deleted and cannot be made again.
    """

    user: str
    first_period: int
    interactions: int
    summaries: int
    lost_periods: tuple[int, ...]


def erase_users(store: Store, users: Sequence[str]) -> tuple[ErasedUser, ...]:
    """Rewrite the store without some users: without all of them, or not at all.

    Models and summaries made from their events are deleted, and their values removed from figures.

    Returns:
        One report for each user; a summary counts only for the first of them.

    Raises:
        UserError: an identifier is unknown, no other user is left, or the new file cannot be
            written; everything is as before.
    """
    users = list(dict.fromkeys(map(canonical, users)))
    indices = lookup_users(store, users)
    for user, index in zip(users, indices, strict=True):
        if index < 0:
            raise UserError(
                f"user '{user}' is not in {store.path}; check the identifier, or finish a `forget` "
                "that was interrupted with `perennial update`"
            )
    vocabulary = read_vocabulary(store, USERS)
    firsts = vocabulary.first_periods[indices]
    (counted,) = store.rows(
        f"SELECT {', '.join(['count_if(user_index = ?)'] * len(indices))} FROM interactions",
        indices.tolist(),
    )

    def edit(_period: int, events: PeriodEvents) -> PeriodEvents:
        return events.take(~np.isin(events.users, indices))

    retained = first_retained_period(store)
    summaries = [one.period for one in list_summaries(store)]
    items = read_vocabulary(store, ITEMS)
    rewrite_log(store, vocabulary, items, edit, int(firsts.min()), removed=indices)
    erased = []
    for user, count, first in zip(users, counted, firsts.tolist(), strict=True):
        void = [period for period in summaries if period >= first]
        summaries = [period for period in summaries if period < first]
        lost = tuple(sorted({period for period in void if period < retained}))
        erased.append(ErasedUser(user, first, count, len(void), lost))
    return tuple(erased)
