"""Writing the store anew: without a user, without old events, or with late events among the others.

Indices are given in order of first appearance, so events that go or come change them, and what was
made of the log from that period on is void. The new file is what a store would be that had read the
changed log from the start. It takes the place of the old one at once, and nothing of the old one is
left in the folder.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perennial.storage.access import remove_file, rewrite_path
from perennial.storage.errors import UserError
from perennial.storage.log.append import OrderedLog, append_log
from perennial.storage.log.carry_over import (
    RECORDS,
    Renumbering,
    copy_records,
    copy_tables,
    with_column,
)
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import first_retained_period
from perennial.storage.log.vocabulary import ITEMS, USERS, Vocabulary, lookup_users, read_kind
from perennial.storage.reading.identifiers import STRINGS, Encoded, IdentifierKind
from perennial.storage.results.fits import sweep_model_files
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store


@dataclass(frozen=True)
class GrowingVocabulary:
    """The identifiers of a vocabulary, and more that may come.

    Attributes:
        ids: by index; those that come stand behind those that are there.
        kind: what they are.
        first_periods: `(number there,)` int32.
    """

    ids: pa.StringArray
    kind: IdentifierKind
    first_periods: NDArray[np.int32]


@dataclass(frozen=True)
class PeriodEvents:
    """The events of a period while they are changed.

    Attributes:
        users: `(n,)` int32, places in `GrowingVocabulary.ids`.
        items: likewise.
        times: `(n,)` int64, sorted.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    def take(self, chosen: NDArray[Any]) -> "PeriodEvents":
        """Only the events at these places, or where a mask is true."""
        return PeriodEvents(self.users[chosen], self.items[chosen], self.times[chosen])


Edit = Callable[[int, PeriodEvents], PeriodEvents]
"""A period and its events -> what they are to be."""


def read_vocabulary(store: Store, vocabulary: Vocabulary) -> GrowingVocabulary:
    """A vocabulary as it is."""
    found = store.table(
        f"SELECT id, first_period FROM {vocabulary.table} ORDER BY {vocabulary.index}"
    )
    ids = found["id"].combine_chunks()
    kind = read_kind(store, vocabulary)
    return GrowingVocabulary(
        ids, STRINGS if kind is None else kind, found["first_period"].to_numpy()
    )


def find_indices(ids: pa.StringArray, among: pa.StringArray) -> NDArray[np.int32]:
    """Where identifiers stand among others: `(n,)`, −1 for those that do not."""
    places: NDArray[np.int32] = (
        pc.index_in(ids, value_set=among).fill_null(-1).to_numpy(zero_copy_only=False)
    )
    return places


def drop_events(store: Store, last: int) -> None:
    """Let go of the events of the periods ≤ `last`; all else stays, the periods in the ledger too.

    Raises:
        UserError: the new file cannot be written; everything is as before.
    """
    with _new_file(store) as new:
        copy_tables(store, new, (*RECORDS, "identifier_kinds", "users", "items"))
        periods = store.table("SELECT * FROM periods ORDER BY period")
        numbers = periods["period"].to_numpy()
        kept = np.where(numbers <= last, 0, periods["kept"].to_numpy())
        first_rows = np.cumsum(kept) - kept
        for name, values in (("kept", kept), ("first_row", first_rows)):
            periods = with_column(periods, name, pa.array(values, pa.int64()))
        new.insert("periods", periods)
        for number in numbers[kept > 0].tolist():
            events = read_events(store, number, number)
            new.insert(
                "interactions",
                pa.table(
                    {
                        "user_index": events.users,
                        "item_index": events.items,
                        "time": events.times,
                    }
                ),
            )


def rewrite_log(
    store: Store,
    users: GrowingVocabulary,
    items: GrowingVocabulary,
    edit: Edit,
    first_changed: int,
    *,
    gone: NDArray[np.int32] | None = None,
    sources: Callable[[int, str], str] = lambda _period, source: source,
    finish: Callable[[Store], None] = lambda _new: None,
) -> None:
    """Write the store anew with other events.

    Args:
        store: open for writing, with a file.
        users: its users, and those that come.
        items: its items, likewise.
        edit: what the events of a period become; called for each that is still held, in order.
        first_changed: the first period that becomes another.
        gone: indices of users who leave the vocabulary too.
        sources: the name of a period's file, from its number and the name so far.
        finish: what else goes into the new store, inside the transaction.

    Raises:
        UserError: nothing would be left, or the new file cannot be written; everything is as
            before.
    """
    with _new_file(store) as new:
        copy_tables(store, new, ("identifier_kinds",))
        leaving = np.empty(0, np.int32) if gone is None else gone
        _copy_dropped(store, new, leaving, users.first_periods[leaving])
        emptied = _append_held(store, new, users, items, edit, sources)
        if not new.rows("SELECT 1 FROM periods LIMIT 1"):
            raise UserError(f"{store.path}: nobody else is in it; delete the store instead")
        found = new.table("SELECT id FROM users ORDER BY user_index")["id"].combine_chunks()
        there = users.ids[: len(users.first_periods)]
        copy_records(store, new, Renumbering(find_indices(there, found), first_changed, emptied))
        finish(new)


@contextmanager
def _new_file(store: Store) -> Iterator[Store]:
    """A store beside the old one, in a transaction; afterwards in its place."""
    if store.path is None:
        raise ValueError("a store in memory is not written anew")
    path = rewrite_path(store.path)
    remove_file(path)
    try:
        with Store.open(path) as new, new.transaction():
            yield new
        _marker(store.path).touch()
        store.replace_file(path)
    finally:
        remove_file(path)
    finish_rewriting(store)


def finish_rewriting(store: Store) -> None:
    """Remove what was made of the old file, if a rewriting was killed before it came to that."""
    if store.path is not None and _marker(store.path).exists():
        sweep_derived_files(store)
        _marker(store.path).unlink()


def _marker(path: Path) -> Path:
    """An empty file that is there from before the rename until nothing of the old file is left."""
    return path.with_name(path.name + ".rewriting")


def sweep_derived_files(store: Store) -> None:
    """Remove what was made of an older log: models that no row names, checkpoints, unmerged cells.

    Raises:
        UserError: something cannot be removed.
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


def _copy_dropped(
    store: Store, new: Store, gone: NDArray[np.int32], first_periods: NDArray[np.int32]
) -> None:
    """The periods without events, and who was first seen in them: they are first in the order."""
    held = first_retained_period(store)
    for vocabulary in (USERS, ITEMS):
        rows = store.table(
            f"""SELECT * FROM {vocabulary.table} WHERE first_period < ?
            ORDER BY {vocabulary.index}""",
            [held],
        )
        if vocabulary is USERS:
            left = pc.is_in(rows["user_index"], value_set=pa.array(gone, pa.int32()))
            rows = rows.filter(pc.invert(left))
        indices = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        new.insert(vocabulary.table, with_column(rows, vocabulary.index, indices))
    periods = store.table("SELECT * FROM periods WHERE period < ? ORDER BY period", [held])
    changed = periods.to_pylist()
    for row in changed:
        for _ in range(np.count_nonzero(first_periods == row["period"])):
            row.update(_without_someone(row))
    new.insert("periods", pa.Table.from_pylist(changed, schema=periods.schema))


def _without_someone(row: dict[str, Any]) -> dict[str, Any]:
    """What can be said of a period whose events are gone, after someone first seen in it is too."""
    return {
        "users": row["users"] - 1,
        "new_users": row["new_users"] - 1,
        # Of no events any more, but of its own: what was made of the period before is void.
        "content_hash": hashlib.sha256(f"{row['content_hash']} without".encode()).hexdigest(),
    }


def _append_held(
    store: Store,
    new: Store,
    users: GrowingVocabulary,
    items: GrowingVocabulary,
    edit: Edit,
    sources: Callable[[int, str], str],
) -> int | None:
    """Append the changed events period by period; the first period that has none left."""
    emptied = None
    for period, ingest, source, has_clock in store.rows(
        "SELECT period, ingest, source, has_clock FROM periods WHERE kept > 0 ORDER BY period"
    ):
        held = read_events(store, period, period)
        events = edit(period, PeriodEvents(held.users, held.items, held.times))
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
    """What went with a user.

    Attributes:
        user: the identifier.
        first_period: the first period that they were in; what was made of it and later ones is
            void.
        interactions: of theirs that were still held.
        summaries: how many were deleted, to be made again where their log is held.
        lost_periods: periods whose summary was deleted and cannot be made again.
    """

    user: str
    first_period: int
    interactions: int
    summaries: int
    lost_periods: tuple[int, ...]


def erase_users(store: Store, users: Sequence[str]) -> tuple[ErasedUser, ...]:
    """Write the store anew without some users: it is without all of them, or as before.

    Models and summaries that saw them are deleted, figures about them are taken out of the runs.

    Returns:
        What went with each; what went with an earlier one does not count again.

    Raises:
        UserError: nobody has one of the identifiers, nobody else is there, or the new file cannot
            be written; everything is as before.
    """
    users = list(dict.fromkeys(users))
    indices = lookup_users(store, users)
    for user, index in zip(users, indices, strict=True):
        if index < 0:
            raise UserError(
                f"user '{user}' is not in {store.path}; check the identifier, or finish a `forget` "
                "that was interrupted with `perennial update`"
            )
    words = read_vocabulary(store, USERS)
    firsts = words.first_periods[indices]
    removed = np.zeros(len(words.first_periods), np.int64)

    def edit(_period: int, events: PeriodEvents) -> PeriodEvents:
        theirs = np.isin(events.users, indices)
        removed[:] += np.bincount(events.users[theirs], minlength=len(removed))
        return events.take(~theirs)

    held = first_retained_period(store)
    summaries = [one.period for one in list_summaries(store)]
    rewrite_log(store, words, read_vocabulary(store, ITEMS), edit, int(firsts.min()), gone=indices)
    erased = []
    for user, index, first in zip(users, indices, firsts.tolist(), strict=True):
        void = [period for period in summaries if period >= first]
        summaries = [period for period in summaries if period < first]
        lost = tuple(sorted({period for period in void if period < held}))
        erased.append(ErasedUser(user, first, int(removed[index]), len(void), lost))
    return tuple(erased)
