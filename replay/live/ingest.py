"""Period files as they come: into the log, then into the model, then out of the log again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perennial.replay.events import Listener, ignore_events
from perennial.replay.live.setup import require_live
from perennial.replay.live.steps import DroppedPeriods, PeriodPublished, Step
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import (
    DEFAULT_SETTINGS,
    IngestSettings,
    Late,
    ingest_period,
)
from perennial.storage.log.periods import first_retained_period, list_periods
from perennial.storage.log.rewrite import ErasedUser, drop_events, erase_users, finish_rewriting
from perennial.storage.progress import Progress, ignore_progress
from perennial.storage.results.publications import read_live
from perennial.storage.store import Store
from perennial.stream.loading import order_files
from perennial.stream.sources.base import LogFiles


@dataclass(frozen=True)
class LiveRequest:
    """How period files are taken.

    Attributes:
        reading: how to read them.
        late: what to do with one of a time that the store has a period of.
        train: judge, refit and publish after each, where a live model is fixed.
        forget_log_after: K, afterwards only the newest K periods keep their interactions; `None`
            keeps all.
    """

    reading: IngestSettings = DEFAULT_SETTINGS
    late: Late = "refuse"
    train: bool = True
    forget_log_after: int | None = None


def take_files(
    store: Store,
    paths: Sequence[Path],
    request: LiveRequest,
    *,
    progress: Progress = ignore_progress,
    listener: Listener = ignore_events,
) -> Iterator[Step]:
    """Take files in the order of their times, and bring the model up to date after each.

    Each step is committed before it is told; the same call again goes on after the last one.

    Args:
        store: open for writing.
        paths: the files.
        request: how.
        progress: told how reading goes.
        listener: told how judging and refitting go.

    Raises:
        UserError: a file is refused, what came before it stays; or the settings do not go together,
            and nothing has changed.
    """
    trains = request.train and read_live(store) is not None
    check_forgetting(store, request)
    files = LogFiles("files", tuple(paths), request.reading)
    for path in order_files(store, files, progress):
        yield ingest_period(store, path, request.reading, progress, request.late)
        if trains:
            yield from bring_up_to_date(store, request.forget_log_after, listener)


def bring_up_to_date(
    store: Store, forget_log_after: int | None, listener: Listener = ignore_events
) -> Iterator[PeriodPublished | DroppedPeriods]:
    """Judge, refit and publish for what has come, then let old interactions go.

    Raises:
        UserError: no live model is fixed.
    """
    # Imports JAX, which a store without a live model does not need.
    from perennial.replay.live.updater import LiveUpdater

    yield from LiveUpdater(store, listener).catch_up()
    if forget_log_after is not None:
        last = len(list_periods(store)) - forget_log_after
        if last >= first_retained_period(store):
            drop_events(store, last)
            yield DroppedPeriods(last)


def check_forgetting(store: Store, request: LiveRequest) -> None:
    """See whether the log can do without its old periods.

    Raises:
        UserError: nothing would remember them, or the strategy reads them again.
    """
    if request.forget_log_after is None:
        return
    if not request.train:
        raise UserError(
            "--forget-log-after and --no-train do not go together: what is dropped must be "
            "remembered first"
        )
    from perennial.replay.config import ReplayConfig

    config = ReplayConfig.from_json(require_live(store).config)
    (strategy,) = config.built_strategies
    if strategy.needs_log:
        raise UserError(
            f"strategy '{strategy.name}' needs the whole log, as it is set; for "
            "--forget-log-after choose one that remembers, such as `perennial "
            "init --strategy distill-cf --memory-policy rolling`"
        )


def forget_users(
    store: Store, users: Sequence[str], listener: Listener = ignore_events
) -> Iterator[ErasedUser | PeriodPublished]:
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
        from perennial.replay.live.updater import LiveUpdater

        yield from LiveUpdater(store, listener).catch_up()
