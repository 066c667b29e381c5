"""Taking users out of the store, and out of all that was made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def erase_users(store: Store, users: Sequence[str]) -> tuple[Erased, ...]:
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
    words = read_words(store, USERS)
    firsts = words.first_periods[indices]
    removed = np.zeros(len(words.first_periods), np.int64)

    def edit(_period: int, events: PeriodEvents) -> PeriodEvents:
        theirs = np.isin(events.users, indices)
        removed[:] += np.bincount(events.users[theirs], minlength=len(removed))
        return events.take(~theirs)

    held = first_held_period(store)
    summaries = [one.period for one in list_summaries(store)]
    rewrite_log(store, words, read_words(store, ITEMS), edit, int(firsts.min()), gone=indices)
    erased = []
    for user, index, first in zip(users, indices, firsts.tolist(), strict=True):
        void = [period for period in summaries if period >= first]
        summaries = [period for period in summaries if period < first]
        lost = tuple(sorted({period for period in void if period < held}))
        erased.append(Erased(user, first, int(removed[index]), len(void), lost))
    return tuple(erased)
