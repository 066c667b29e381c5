"""Forgetting a user: out of the log, out of what was made of it, and the model made anew."""

from collections.abc import Iterator, Sequence

from replay.live.keeper import Keeper, PeriodDone
from replay.progress import Listener, ignore_events
from storage.erase import Erased, erase_user
from storage.errors import UserError
from storage.live import read_live
from storage.rewrite import sweep_derived_files
from storage.store import Store
from storage.vocabulary import lookup_users


def forget_users(
    store: Store, users: Sequence[str], listener: Listener = ignore_events
) -> Iterator[Erased | PeriodDone]:
    """Erase users, one after the other, then distil and refit what the live model needs.

    What was interrupted is finished by the same call for those who are still there, or by any
    `update`.

    Args:
        store: open for writing, with a file.
        users: their identifiers.
        listener: told how distilling and refitting go.

    Raises:
        UserError: nobody has one of the identifiers; nothing has changed.
    """
    # What a killed call may have left of someone who is out of the log already.
    sweep_derived_files(store)
    for user, index in zip(users, lookup_users(store, users), strict=True):
        if index < 0:
            raise UserError(f"user '{user}' is not in {store.path}; check the identifier")
    for user in dict.fromkeys(users):
        yield erase_user(store, user)
    if read_live(store) is not None:
        yield from Keeper(store, listener).catch_up()
    store.write_snapshot()
