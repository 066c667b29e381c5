"""Making a store hold one log, cut one way, and nothing else."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from storage.errors import UserError
from storage.ingest import IngestReport
from storage.matrices import read_events
from storage.periods import first_held_period, list_periods
from storage.progress import Progress, ignore_progress
from storage.store import Store
from stream.cuts import Cut
from stream.load import load_log, order_files
from stream.sources.protocol import LogFiles


def hold_log(
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
    reports = load_log(store, log, cut, progress)
    return tuple(report for report in reports if not report.already_ingested)


def _is_held(store: Store, log: LogFiles, cut: Cut, progress: Progress) -> bool:
    """Whether all of the log is there; `False` if the first of its files are.

    Raises:
        UserError: something else is.
    """
    first = first_held_period(store)
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
