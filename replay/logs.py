"""From what a person names, a source, a store or neither, to an open store with a log in it."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perennial.storage.errors import UserError
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.periods import list_periods
from perennial.storage.opening import open_for_reading, open_for_writing, open_to_serve_readers
from perennial.storage.progress import Progress, ignore_progress
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
    """What to replay.

    Attributes:
        source: name of a data set, a file or a folder, here or on object storage; `None` for what
            the store holds, or the embedded stream where it holds nothing.
        store: the store's file; `None` for one that is called like the source, in this folder.
        cut: name of the cut; `None` for the one that suits the source.
        num_periods: for the cuts that take it; `None` for 17.
        reading: fields of `IngestSettings` that differ from the source's own.
        wait: seconds to wait for another writer of the store to end.
    """

    source: str | None = None
    store: Path | None = None
    cut: str | None = None
    num_periods: int | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    wait: float = 0.0


@dataclass(frozen=True)
class OpenLog:
    """A store with a log in it.

    Attributes:
        store: open for writing.
        path: its file.
        source: what the log is called.
        cut: how it was cut; `None` where it was in the store already and no source was given.
        reports: what had to be ingested.
    """

    store: Store
    path: Path
    source: str
    cut: str | None
    reports: tuple[IngestReport, ...]


@contextmanager
def open_log(
    request: LogRequest,
    *,
    cache: Path,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[OpenLog]:
    """Find the log, load it where it is not in the store yet, and keep the store open.

    Args:
        request: what to replay.
        cache: folder for downloads and generated logs.
        mirror: address to download from.
        progress: told what is being done.

    Raises:
        UserError: no such source, a store that holds another log, a file that cannot be read; the
            store is as before, and one that would be new is not there.
    """
    name = _source_to_load(request)
    if name is None and request.store is not None:
        with open_to_serve_readers(request.store, request.wait) as store:
            yield OpenLog(store, request.store, str(request.store), None, ())
        return
    with ExitStack() as stack:
        finding = find_log(request, name, cache=cache, mirror=mirror, progress=progress)
        with finding as (log, cut):
            path = request.store or Path(f"{log.name}.duckdb")
            store = stack.enter_context(open_for_writing(path, request.wait))
            reports = load_log(store, log, cut, progress)
        yield OpenLog(store, path, log.name, cut.name, reports)


@contextmanager
def find_log(
    request: LogRequest,
    source: str | None,
    *,
    cache: Path,
    mirror: str | None,
    progress: Progress,
) -> Iterator[tuple[LogFiles, Cut]]:
    """The files of a source, read as it is asked for, and how to cut them.

    What comes from object storage is here until the end, on the disk of the store.

    Args:
        request: how to read and cut.
        source: its name; the embedded stream if `None`.
        cache: folder for downloads and generated logs.
        mirror: address to download from.
        progress: told what is being done.

    Raises:
        UserError: no such source, or no such cut.
    """
    beside = Path() if request.store is None else request.store.parent
    opening = open_local_source(
        source or DEFAULT_SOURCE, beside, cache=cache, mirror=mirror, progress=progress
    )
    with opening as log:
        settings = dataclasses.replace(log.settings, **request.reading)
        cut = make_cut(request.cut or log.cut, request.num_periods or DEFAULT_PERIODS)
        yield dataclasses.replace(log, settings=settings), cut


def _source_to_load(request: LogRequest) -> str | None:
    """`None` where the store holds what is to be replayed."""
    if request.source is not None:
        return request.source
    if request.store is None or not request.store.exists():
        return DEFAULT_SOURCE
    with Store.open(request.store, wait=request.wait) as store:
        if not list_periods(store):
            return DEFAULT_SOURCE
    if request.cut or request.num_periods or request.reading:
        raise UserError(
            f"the log in {request.store} is cut and read already; give its SOURCE to have that "
            "checked, or leave out how to cut and read it"
        )
    return None


@contextmanager
def open_to_export(
    request: LogRequest,
    *,
    cache: Path,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[Store]:
    """Open the store that is named, or cut the source into a store in memory.

    Args:
        request: a store, or a source and how to cut it.
        cache: folder for downloads and generated logs.
        mirror: address to download from.
        progress: told what is being done.

    Raises:
        UserError: no such store or source, or a store together with how to cut it.
    """
    if request.store is not None:
        if request.cut or request.num_periods or request.reading:
            raise UserError(
                f"the log in {request.store} is cut and read already; leave out how to cut and "
                "read it, or give a SOURCE in place of --store"
            )
        with open_for_reading(request.store) as store:
            yield store
        return
    with Store.open(":memory:") as store:
        finding = find_log(request, request.source, cache=cache, mirror=mirror, progress=progress)
        with finding as (log, cut):
            load_log(store, log, cut, progress)
        yield store
