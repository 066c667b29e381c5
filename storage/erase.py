"""Taking a user out of the store, and out of all that was made of them."""

from dataclasses import dataclass

from storage.errors import UserError
from storage.periods import first_held_period
from storage.rewrite import PeriodEvents, read_words, rewrite_log
from storage.store import Store
from storage.summaries import list_summaries
from storage.vocabulary import ITEMS, USERS, lookup_users


@dataclass(frozen=True)
class Erased:
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


def erase_user(store: Store, user: str) -> Erased:
    """Write the store anew without a user.

    Models and summaries that saw them are deleted, figures about them are taken out of the runs.

    Raises:
        UserError: nobody has this identifier, nobody else is there, or the new file cannot be
            written; everything is as before.
    """
    index = int(lookup_users(store, [user])[0])
    if index < 0:
        raise UserError(f"user '{user}' is not in {store.path}; check the identifier")
    words = read_words(store, USERS)
    first = int(words.first_periods[index])
    held = first_held_period(store)
    void = [one for one in list_summaries(store) if one.period >= first]
    removed = 0

    def edit(_period: int, events: PeriodEvents) -> PeriodEvents:
        nonlocal removed
        others = events.users != index
        removed += int((~others).sum())
        return events.take(others)

    rewrite_log(store, words, read_words(store, ITEMS), edit, first, gone=index)
    lost = sorted({one.period for one in void if one.period < held})
    return Erased(user, first, removed, len(void), tuple(lost))
