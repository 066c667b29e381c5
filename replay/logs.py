"""The log of a command: the name of a source, a store or neither -> an open store with the log."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.periods import list_periods
from perennial.storage.opening import open_for_reading, open_for_writing, resolve_store
from perennial.storage.store import Store
from perennial.stream.cuts import Cut, make_cut
from perennial.stream.loading import load_log
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.object_storage import open_local_source
from perennial.stream.sources.registry import SOURCES

DEFAULT_SOURCE = next(iter(SOURCES))
DEFAULT_PERIODS = 17


@dataclass(frozen=True)
class LogRequest:
    """Name of a log, and how to read and cut it.

    Attributes:
        mirror: address to download from in place of the publisher's.
        source: name of a data set, a file or a folder, here or on object storage; `None` for the
            log in the store, or the embedded stream if the store has none.
        store: the store's file; `None` for one named after the source, in the current folder.
        cut: name of the cut; `None` for the default of the source.
        num_periods: number of periods, for the cuts that take it; `None` for 17.
        reading: fields of `IngestSettings` that differ from the source's own.
    """

    cache: Path
    mirror: str | None = None
    source: str | None = None
    store: Path | None = None
    cut: str | None = None
    num_periods: int | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    wait: float = 0.0


@dataclass(frozen=True)
class OpenLog:
    """A store with a log in it, open for writing, and the reports of the files that were ingested.

    `cut` is the name of its cut; `None` if the log was in the store and no source was given.
    """

    store: Store
    path: Path
    source: str
    cut: str | None
    reports: tuple[IngestReport, ...]


@contextmanager
def open_log(request: LogRequest, progress: Progress) -> Iterator[OpenLog]:
    """Open a store with the log, which is loaded unless the store has it.

    Raises:
        UserError: no such source, a store with another log, or a file that cannot be read; the
            store is as before, and a new one is removed.
    """
    with ExitStack() as stack:
        store = None
        if request.source is None and request.store is not None and request.store.exists():
            store = stack.enter_context(open_for_writing(request.store, request.wait))
            if list_periods(store):
                _refuse_cut(request, "give its SOURCE to have that checked, or ")
                yield OpenLog(store, request.store, str(request.store), None, ())
                return
        with find_log(request, progress) as (log, cut):
            path = resolve_store(request.store or Path(f"{log.name}.duckdb"))
            store = store or stack.enter_context(open_for_writing(path, request.wait))
            reports = load_log(store, log, cut, progress)
        yield OpenLog(store, path, log.name, cut.name, reports)


@contextmanager
def find_log(request: LogRequest, progress: Progress) -> Iterator[tuple[LogFiles, Cut]]:
    """Find the files of a source, with the requested settings, and make its cut.

    Copies of files on object storage are next to the store, and removed at the end.

    Raises:
        UserError: no such source or cut, or a number of periods for a cut that does not take it.
    """
    if request.cut is not None:
        _make_cut(request, request.cut)  # Refused before anything is downloaded.
    folder = Path() if request.store is None else request.store.parent
    opening = open_local_source(
        request.source or DEFAULT_SOURCE,
        folder,
        cache=request.cache,
        mirror=request.mirror,
        progress=progress,
    )
    with opening as log:
        settings = dataclasses.replace(log.settings, **request.reading)
        yield dataclasses.replace(log, settings=settings), _make_cut(request, log.cut)


def _make_cut(request: LogRequest, default: str) -> Cut:
    """Make the requested cut, or the source's own; raise `UserError` for an invalid one."""
    cut = make_cut(request.cut or default, request.num_periods or DEFAULT_PERIODS)
    if request.num_periods is not None and not cut.takes_number:
        raise UserError(
            f"--periods is for the cuts equal-count and equal-span; '{cut.name}' gives the periods "
            "by itself: leave --periods out, or name one of the two with --cut"
        )
    return cut


@contextmanager
def open_to_export(request: LogRequest, progress: Progress) -> Iterator[Store]:
    """Open the store that is named, or cut the source into a store in memory."""
    if request.store is not None:
        _refuse_cut(request, "give a SOURCE in place of --store, or ")
        with open_for_reading(request.store) as store:
            yield store
        return
    with hold_log(request, progress) as log:
        yield log.store


@contextmanager
def hold_log(request: LogRequest, progress: Progress) -> Iterator[OpenLog]:
    """Cut the source into a store in memory; see `find_log`."""
    with Store.open(":memory:") as store:
        with find_log(request, progress) as (log, cut):
            reports = load_log(store, log, cut, progress)
        yield OpenLog(store, Path(":memory:"), log.name, cut.name, reports)


def _refuse_cut(request: LogRequest, alternative: str) -> None:
    """Refuse options of reading and cutting for a log that is in a store."""
    if request.cut or request.num_periods or request.reading:
        raise UserError(
            f"the log in {request.store} is cut and read already; {alternative}leave out how to "
            "cut and read it"
        )
