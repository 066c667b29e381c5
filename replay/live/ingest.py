"""Ingest period files into the log and the live model, and forget old periods or users."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perennial.replay.events import Listener, ignore_events
from perennial.replay.live.setup import check_forgetting, require_live
from perennial.replay.live.steps import DroppedPeriods, PeriodPublished, Step
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import Late, ingest_period
from perennial.storage.log.ledger import continue_filters
from perennial.storage.log.periods import first_retained_period, list_periods
from perennial.storage.log.rewrite import ErasedUser, drop_events, erase_users
from perennial.storage.reading.settings import DEFAULT_SETTINGS, IngestSettings
from perennial.storage.results.publications import read_live
from perennial.storage.store import Store
from perennial.stream.loading import order_files
from perennial.stream.sources.base import LogFiles


@dataclass(frozen=True)
class LiveRequest:
    """Settings of the ingestion of period files.

    Attributes:
        late: treatment of a file from the time of an earlier period.
        train: evaluate, refit and publish after each file, if the store has a live model.
        forget_log_after: K, the number of newest periods whose interactions are retained
            afterwards; `None` is the live configuration's.
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
    """Ingest files in the order of their times, and update the live model after each.

    Each step is committed before it is yielded; the same call again resumes after the last one.

    Raises:
        UserError: a file is refused, and the files before it stay; or the settings contradict each
            other, and nothing has changed.
    """
    trains = request.train and read_live(store) is not None
    if trains:
        _check_live(store)
    check_request(store, request)
    reading = continue_filters(store, request.reading)
    files = LogFiles("files", tuple(paths), reading)
    for path in order_files(store, files, progress):
        yield ingest_period(store, path, reading, progress, request.late)
        if trains:
            yield from bring_up_to_date(store, request.forget_log_after, listener)


def bring_up_to_date(
    store: Store, forget_log_after: int | None, listener: Listener = ignore_events
) -> Iterator[PeriodPublished | DroppedPeriods]:
    """Evaluate, refit and publish for new periods, then drop old interactions.

    `forget_log_after` is as in `LiveRequest`.

    Raises:
        UserError: the store has no live model.
    """
    # Imports JAX, which a store without a live model does not need.
    from perennial.replay.live.updater import LiveUpdater

    yield from LiveUpdater(store, listener).catch_up()
    record = require_live(store)
    newest = forget_log_after or record.forget_log_after
    if newest is not None:
        last = len(list_periods(store)) - newest
        if last >= first_retained_period(store):
            drop_events(store, last, record.keep_histories)
            yield DroppedPeriods(last, record.keep_histories)


def _check_live(store: Store) -> None:
    """Check the live strategy and model, which an earlier version may have set.

    Raises:
        UserError: the model lacks what the strategy needs.
    """
    from perennial.replay.config import ReplayConfig
    from perennial.replay.plan import check_chains

    check_chains(ReplayConfig.from_json(require_live(store).config))


def check_request(store: Store, request: LiveRequest) -> None:
    """Check that old periods of the log may be dropped.

    Raises:
        UserError: no memory is made of them, or the strategy reads them again.
    """
    if request.forget_log_after is None:
        return
    if not request.train:
        raise UserError(
            "--forget-log-after and --no-train do not go together: what is dropped must be "
            "remembered first"
        )
    from perennial.replay.config import ReplayConfig

    check_forgetting(ReplayConfig.from_json(require_live(store).config))


def forget_users(
    store: Store, users: Sequence[str], listener: Listener = ignore_events
) -> Iterator[ErasedUser | PeriodPublished]:
    """Erase users in one step, then distil and refit as the live model needs.

    If it is interrupted after the log is rewritten, any `update` finishes it; before that nothing
    has changed, and the same call starts again.

    Raises:
        UserError: an identifier is unknown, and nothing has changed.
    """
    yield from erase_users(store, users)
    if read_live(store) is not None:
        from perennial.replay.live.updater import LiveUpdater

        yield from LiveUpdater(store, listener).catch_up()
