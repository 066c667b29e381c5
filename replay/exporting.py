"""From a log that someone names, or a store, to periods that can be exported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replay.opening import LogRequest, find_log, open_for_reading
from storage.errors import UserError
from storage.progress import Progress, ignore_progress
from storage.store import Store
from stream.hold import hold_log


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
            hold_log(store, log, cut, progress)
        yield store
