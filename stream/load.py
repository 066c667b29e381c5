"""Bringing a log into the store, cut as it was asked for."""

from pathlib import Path

from storage.clocks import parse_times
from storage.columns import Column
from storage.errors import UserError
from storage.formats import read_times
from storage.ingest import IngestReport, IngestSettings, ingest_log, ingest_period
from storage.progress import Progress, ignore_progress
from storage.store import Store
from stream.cuts import Cut
from stream.sources.protocol import LogFiles


def load_log(
    store: Store, log: LogFiles, cut: Cut, progress: Progress = ignore_progress
) -> tuple[IngestReport, ...]:
    """Ingest a log.

    The cut `files` makes each file the next period, in the order of the files' first times, or in
    the order they come in where they have none; each is ingested for itself, so that what was
    interrupted goes on with the first file that is missing. Any other cut takes all files as one
    log, in one transaction.

    Args:
        store: where to.
        log: the files, from `open_source`.
        cut: from `make_cut`.
        progress: told what is being done.

    Returns:
        One report for each file, or one for all of them.

    Raises:
        UserError: a file cannot be read or is refused; or the log has no times and the cut is one
            of the calendar's. What was being ingested leaves no trace.
    """
    if not cut.by_file:
        if cut.needs_clock and _read_times(log.paths[0], log.settings) is None:
            raise UserError(
                f"{log.paths[0]}: no times in it, so it cannot be cut by the {cut.name}; "
                "name its time column, or use --cut equal-count, equal-span or files"
            )
        return (ingest_log(store, log.paths, cut, log.settings, progress),)
    reports = []
    for number, path in enumerate(order_files(store, log, progress)):
        progress(f"ingesting {path.name}", number, len(log.paths))
        reports.append(ingest_period(store, path, log.settings))
    return tuple(reports)


def order_files(store: Store, log: LogFiles, progress: Progress) -> tuple[Path, ...]:
    """The files of a log by their first times, or as they are where they have none.

    Raises:
        UserError: some have times and some have none, or one cannot be read.
    """
    if len(log.paths) == 1:
        return log.paths
    timed: dict[Path, int] = {}
    untimed = []
    for number, path in enumerate(log.paths):
        progress(f"looking into {path.name}", number, len(log.paths))
        column = _read_times(path, log.settings)
        if column is None:
            untimed.append(path)
        else:
            timed[path] = _first_time(store, path, column)
    if timed and untimed:
        raise UserError(f"{untimed[0]}: no times in it, but in other files; ingest them apart")
    return tuple(sorted(timed, key=timed.__getitem__)) if timed else log.paths


def _read_times(path: Path, settings: IngestSettings) -> Column | None:
    """The time column of a file as it stands in it; `None` where it has none."""
    return read_times(path, settings.choice, settings.format)


def _first_time(store: Store, path: Path, column: Column) -> int:
    """The earliest time of a column, µs since 1970; 0 where no time in it can be read."""
    try:
        times = parse_times(column, store.connection)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    good = times.micros if times.faults is None else times.micros[times.faults == 0]
    return int(good.min()) if len(good) else 0
