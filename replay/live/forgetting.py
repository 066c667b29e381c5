"""Forgetting users: out of the log, out of what was made of it, and the model made anew."""

from collections.abc import Iterator, Sequence

from replay.live.keeper import Keeper, PeriodDone
from replay.progress import Listener, ignore_events
from storage.erase import Erased, erase_users
from storage.live import read_live
from storage.rewrite import finish_rewriting
from storage.store import Store


def forget_users(
    store: Store, users: Sequence[str], listener: Listener = ignore_events
) -> Iterator[Erased | PeriodDone]:
    """Erase users, all at once, then distil and refit what the live model needs.

    Once they are out of the log, what was interrupted is finished by any `update`; before that
    nothing has changed, and the same call begins again.

    Args:
        store: open for writing, with a file.
        users: their identifiers.
        listener: told how distilling and refitting go.

    Raises:
        UserError: nobody has one of the identifiers; nothing has changed.
    """
    # What a killed call may have left of someone who is out of the log already.
    finish_rewriting(store)
    yield from erase_users(store, users)
    if read_live(store) is not None:
        yield from Keeper(store, listener).catch_up()
