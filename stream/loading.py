"""Loading one log, cut one way, into a store, and checking that a store holds it already."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import hash_files, ingest_log, ingest_period
from perennial.storage.log.ledger import IngestReport, continue_filters
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import first_retained_period, list_periods
from perennial.storage.reading.columns import Column
from perennial.storage.reading.formats import read_times
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.reading.times.timestamps import parse_times
from perennial.storage.store import Store
from perennial.stream.cuts import Cut
from perennial.stream.sources.base import LogFiles


def load_log(
    store: Store, log: LogFiles, cut: Cut, progress: Progress = ignore_progress
) -> tuple[IngestReport, ...]:
    """Load a log into a store that is empty or holds the first files of the same log.

    Rows count as in what the store holds; see `continue_filters`. Reports of what was ingested are
    returned, none if the store held the log already.

    Raises:
        UserError: the store holds something else, or the log cannot be read; nothing has changed.
    """
    log = replace(log, settings=continue_filters(store, log.settings))
    if list_periods(store) and _is_loaded(store, log, cut, progress):
        return ()
    reports = ingest_files(store, log, cut, progress)
    return tuple(report for report in reports if not report.already_ingested)


def ingest_files(
    store: Store, log: LogFiles, cut: Cut, progress: Progress = ignore_progress
) -> tuple[IngestReport, ...]:
    """Ingest a log into a store that is open for writing; return a report for each transaction.

    The cut `files` makes each file the next period, in the order of `order_files`. Each file is
    ingested in a transaction of its own, so that an interrupted load resumes with the first file
    that is missing. Any other cut takes all files as one log, in one transaction.

    Raises:
        UserError: a file cannot be read or is refused, or the log has no times and the cut follows
            the calendar. The transaction that failed leaves no trace.
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
    """Sort the files of a log by their first times, or keep their order if none has times."""
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
            timed[path] = _first_time(store, path, column, log.settings.time_format)
    if timed and untimed:
        raise UserError(f"{untimed[0]}: no times in it, but in other files; ingest them separately")
    return tuple(sorted(timed, key=timed.__getitem__)) if timed else log.paths


def _read_times(path: Path, settings: IngestSettings) -> Column | None:
    return read_times(path, settings)


def _first_time(store: Store, path: Path, column: Column, time_format: str | None) -> int:
    """Find the earliest time of a column, µs since 1970; 0 if none of its times can be read."""
    try:
        times = parse_times(column, store.connection, time_format)
    except UserError as error:
        raise UserError(f"{path}: time column: {error}") from None
    good = times.micros if times.faults is None else times.micros[times.faults == 0]
    return int(good.min()) if len(good) else 0


def _is_loaded(store: Store, log: LogFiles, cut: Cut, progress: Progress) -> bool:
    """Return True if the store holds the whole log, False for its first files, else `UserError`."""
    first = first_retained_period(store)
    if first > 1:
        raise UserError(
            f"{store.path} holds interactions only from period {first} on, and '{log.name}' begins "
            "earlier; name another --store"
        )
    stored = [
        file_hash
        for (file_hash,) in store.rows(
            "SELECT file_hash FROM ingested_files ORDER BY ingest, ordinal"
        )
    ]
    hashes = dict(zip(log.paths, hash_files(store, log.paths, progress), strict=True))
    if not set(stored) <= set(hashes.values()):
        raise UserError(
            f"{store.path} holds more than '{log.name}', or another log; name another --store, or "
            "give no SOURCE to replay what it holds"
        )
    is_whole = set(stored) == set(hashes.values())
    if cut.by_file:
        same_cut = _is_cut_by_file(store) and (
            is_whole
            or _is_prefix(stored, [hashes[path] for path in order_files(store, log, progress)])
        )
    else:
        same_cut = is_whole and _has_periods_of(store, cut)
    settings = store.rows("SELECT DISTINCT settings FROM ingests")
    if not same_cut or settings != [(json.dumps(log.settings.to_json()),)]:
        raise UserError(
            f"{store.path} holds '{log.name}' cut or read in another way, or changed since; name "
            "another --store, or give no SOURCE to replay what it holds"
        )
    return is_whole


def _is_prefix(stored: Sequence[str], ordered: Sequence[str]) -> bool:
    """Return True if the stored files come before all missing ones; equal files count once."""
    return list(dict.fromkeys(ordered))[: len(stored)] == list(stored)


def _is_cut_by_file(store: Store) -> bool:
    (files,) = store.rows("SELECT count(*), count(DISTINCT ingest) FROM ingested_files")
    return files == (len(list_periods(store)),) * 2


def _has_periods_of(store: Store, cut: Cut) -> bool:
    """Return True if a cut of the stored log gives the stored periods."""
    periods = list_periods(store)
    times = read_events(store, 1, len(periods)).times
    edges = [0, *np.searchsorted(times, cut(times)), len(times)]
    sizes: list[int] = np.diff(edges).tolist()
    return sizes == [period.interactions for period in periods]
