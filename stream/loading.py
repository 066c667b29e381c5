"""Making a store hold one log, cut one way, and nothing else."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import IngestReport, IngestSettings, ingest_log, ingest_period
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import first_retained_period, list_periods
from perennial.storage.progress import Progress, ignore_progress
from perennial.storage.reading.columns import Column
from perennial.storage.reading.formats import read_times
from perennial.storage.reading.timestamps import parse_times
from perennial.storage.store import Store
from perennial.stream.cuts import Cut
from perennial.stream.sources.base import LogFiles


def ingest_files(
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


def load_log(
    store: Store, log: LogFiles, cut: Cut, progress: Progress = ignore_progress
) -> tuple[IngestReport, ...]:
    """Load a log into an empty store, finish what was interrupted, or see that it is all there.

    Args:
        store: where to.
        log: the files, from `open_source`.
        cut: from `make_cut`.
        progress: told what is being done.

    Returns:
        What was ingested; empty where the store held the log already.

    Raises:
        UserError: the store holds something else, or the log cannot be read; nothing has changed.
    """
    if list_periods(store) and _is_held(store, log, cut, progress):
        return ()
    reports = ingest_files(store, log, cut, progress)
    return tuple(report for report in reports if not report.already_ingested)


def _is_held(store: Store, log: LogFiles, cut: Cut, progress: Progress) -> bool:
    """Whether all of the log is there; `False` if the first of its files are.

    Raises:
        UserError: something else is.
    """
    first = first_retained_period(store)
    if first > 1:
        raise UserError(
            f"{store.path} holds interactions only from period {first} on, and '{log.name}' begins "
            "earlier; name another --store"
        )
    held = [
        file_hash
        for (file_hash,) in store.rows(
            "SELECT file_hash FROM ingested_files ORDER BY ingest, ordinal"
        )
    ]
    files = _hash_files(log.paths, progress)
    if not set(held) <= set(files.values()):
        raise UserError(
            f"{store.path} holds more than '{log.name}', or another log; name another --store, or "
            "give no SOURCE to replay what it holds"
        )
    is_whole = set(held) == set(files.values())
    if cut.by_file:
        is_cut_so = _is_file_by_file(store) and (
            is_whole
            or _are_first(held, [files[path] for path in order_files(store, log, progress)])
        )
    else:
        is_cut_so = is_whole and _is_cut_so(store, cut)
    if not is_cut_so or not _is_read_so(store, log):
        raise UserError(
            f"{store.path} holds '{log.name}' cut or read in another way, or changed since; name "
            "another --store, or give no SOURCE to replay what it holds"
        )
    return is_whole


def _hash_files(paths: Sequence[Path], progress: Progress) -> dict[Path, str]:
    hashes = {}
    for number, path in enumerate(paths):
        progress(f"checking {path.name}", number, len(paths))
        try:
            with path.open("rb") as stream:
                hashes[path] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return hashes


def _are_first(held: Sequence[str], ordered: Sequence[str]) -> bool:
    """Whether what is held comes before all that is missing; equal files count once."""
    return list(dict.fromkeys(ordered))[: len(held)] == list(held)


def _is_read_so(store: Store, log: LogFiles) -> bool:
    """Whether the stored log was read with the settings of `log`."""
    read = store.rows("SELECT DISTINCT settings FROM ingests")
    return read == [(json.dumps(asdict(log.settings)),)]


def _is_file_by_file(store: Store) -> bool:
    """Whether each ingested file is a period."""
    (files,) = store.rows("SELECT count(*), count(DISTINCT ingest) FROM ingested_files")
    return files == (len(list_periods(store)),) * 2


def _is_cut_so(store: Store, cut: Cut) -> bool:
    """Whether a cut of the stored log gives the stored periods."""
    periods = list_periods(store)
    times = read_events(store, 1, len(periods)).times
    edges = [0, *np.searchsorted(times, cut(times)), len(times)]
    sizes: list[int] = np.diff(edges).tolist()
    return sizes == [period.interactions for period in periods]
