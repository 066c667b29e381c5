"""Ingestion of a file as the next period, or of a whole log as several, in one transaction."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.append import OrderedLog, append_log
from perennial.storage.log.late_events import describe_overlap, merge_late
from perennial.storage.log.ledger import (
    IngestReport,
    continue_filters,
    read_report,
    record_files,
    record_ingest,
)
from perennial.storage.log.matrices import read_events
from perennial.storage.log.sort import LogRows, hash_identifiers, order_log
from perennial.storage.log.vocabulary import ITEMS, USERS, describe_other_kind
from perennial.storage.reading.filters import check_conditions
from perennial.storage.reading.formats import FORMATS, find_partitions
from perennial.storage.reading.layout import FileLayout
from perennial.storage.reading.rejects import Rejects, total_counts
from perennial.storage.reading.settings import DEFAULT_SETTINGS, IngestSettings
from perennial.storage.reading.staging import stage_log
from perennial.storage.store import Store

Late = Literal["refuse", "merge"]
"""Treatment of a file that is older than, or overlaps, periods of the store."""

Cut = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Sorted times `(n,)` int64 in µs -> increasing boundaries `(m,)`; the period of a row is
1 + the number of boundaries ≤ its time."""


def ingest_period(
    store: Store,
    path: Path | str,
    settings: IngestSettings = DEFAULT_SETTINGS,
    progress: Progress = ignore_progress,
    late: Late = "refuse",
) -> IngestReport:
    """Ingest a file as the next period.

    With `late="merge"`, events that are older than the newest period, or overlap it, are inserted
    into their own periods, and the store is rewritten.

    Raises:
        UserError: the file cannot be read or is refused; the store is unchanged.
    """
    return ingest_log(store, [path], None, settings, progress, late)


def ingest_log(
    store: Store,
    paths: Sequence[Path | str],
    cut: Cut | None,
    settings: IngestSettings = DEFAULT_SETTINGS,
    progress: Progress = ignore_progress,
    late: Late = "refuse",
) -> IngestReport:
    """Ingest a log, in one file or several, as the next periods, or without a cut as the next one.

    Equal rows are merged across the files. Empty periods of the cut are left out, and the others
    are numbered without gaps.

    Raises:
        UserError: a file cannot be read or is refused; the store is unchanged.
    """
    files = tuple(Path(path) for path in paths)
    settings = continue_filters(store, settings)
    _check(files, settings)
    hashes = hash_files(store, files, progress)
    _check_distinct(files, hashes)
    if (report := _find_again(store, files, hashes, settings, cut)) is not None:
        return report
    prepared = _prepare(store, files, cut, settings, progress)
    overlap = describe_overlap(store, prepared.log)
    if overlap is not None and late == "refuse":
        raise UserError(
            f"{files[0]}: {overlap}; nothing was taken. Ingest files in the order of time, or "
            "put it among the others with --late merge"
        )
    progress("writing events", 0, None)
    ingest = store.rows("SELECT coalesce(max(ingest), 0) + 1 FROM ingests")[0][0]

    def record(target: Store, merged: int) -> None:
        key = _content_hash(hashes, settings, prepared.boundaries)
        counts = (prepared.num_lines, merged, sum(map(len, prepared.rejects)), filtered)
        record_ingest(
            target, ingest, key, json.dumps(settings.to_json()), prepared.boundaries, counts
        )
        record_files(target, ingest, files, hashes, prepared.rejects)

    filtered = sum(layout.filtered for layout in prepared.layouts)
    num_events, equal = len(prepared.log.times), 0
    if overlap is None:
        source = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
        with store.transaction():
            periods = append_log(store, prepared.log, ingest, source)
            record(store, prepared.merged)
    else:
        periods, equal = merge_late(
            store,
            prepared.log,
            settings.tie_seed,
            files[0].name,
            lambda new, equal: record(new, prepared.merged + equal),
        )
    return IngestReport(
        paths=files,
        already_ingested=False,
        lines=prepared.num_lines,
        interactions=num_events - equal,
        merged=prepared.merged + equal,
        rejected=sum(map(len, prepared.rejects)),
        reject_reasons=total_counts(prepared.rejects),
        periods=periods,
        layouts=prepared.layouts,
        remarks=prepared.remarks,
        filtered=filtered,
    )


@dataclass(frozen=True)
class _PreparedLog:
    """A log that is ready to be written.

    Attributes:
        log: its events.
        boundaries: `(m,)` int64, of the cut; `None` if a file is a period.
        merged: number of rows left out as equal to another.
        num_lines: number of lines read, bad ones included.
        rejects: bad lines, per file.
        layouts: interpretation of each file.
        remarks: what the owner of the files should know, one line each.
    """

    log: OrderedLog
    boundaries: NDArray[np.int64] | None
    merged: int
    num_lines: int
    rejects: tuple[Rejects, ...]
    layouts: tuple[FileLayout, ...]
    remarks: tuple[str, ...]


def _prepare(
    store: Store,
    files: tuple[Path, ...],
    cut: Cut | None,
    settings: IngestSettings,
    progress: Progress,
) -> _PreparedLog:
    """Read files, sort their events and cut them."""
    log = stage_log(files, settings, store.connection, progress)
    progress("ordering events", 0, None)
    users, items, times, has_clock = log.users, log.items, log.times, log.has_clock
    num_lines, rejects, merged = log.num_lines, log.rejects, 0
    if has_clock:
        hashes = [hash_identifiers(column.ids, settings.tie_seed) for column in (users, items)]
        order = order_log(LogRows(times, log.time_scale, users.codes, items.codes, *hashes))
        # Events take most of the memory, so memory that is no longer needed is reused.
        unused = users.codes
        users = replace(users, codes=order.take(users.codes))
        items = replace(items, codes=order.take(items.codes, out=unused))
        times, merged = order.into_times(), order.merged
    boundaries, edges = _cut(times, cut)
    ordered = OrderedLog(users, items, times, has_clock, edges)
    columns = ((USERS, users), (ITEMS, items))
    kinds = (describe_other_kind(store, name, column.kind) for name, column in columns)
    remarks = (*log.remarks, *_compare_clocks(store, has_clock), *filter(None, kinds))
    return _PreparedLog(ordered, boundaries, merged, num_lines, rejects, log.layouts, remarks)


def _compare_clocks(store: Store, has_clock: bool) -> tuple[str, ...]:
    """Return a remark if the newest period has times and these files have none, or the reverse."""
    newest = store.rows("SELECT period, has_clock FROM periods ORDER BY period DESC LIMIT 1")
    if not newest or newest[0][1] == has_clock:
        return ()
    period, had_clock = newest[0]
    words = ("has no times", "has times")
    return (f"period {period} {words[had_clock]}, and this file {words[has_clock]}",)


def _cut(
    times: NDArray[np.int64], cut: Cut | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return a cut's boundaries, and the positions `(p + 1,)` where periods begin and end."""
    ends = np.array([0, len(times)])
    if cut is None:
        return None, ends
    shown = times.view()
    shown.flags.writeable = False
    boundaries = np.asarray(cut(shown), np.int64)
    # Repeated edges are empty periods.
    return boundaries, np.unique(np.concatenate([ends, np.searchsorted(times, boundaries)]))


def _check(files: tuple[Path, ...], settings: IngestSettings) -> None:
    if not files:
        raise UserError("no file to ingest; name at least one")
    if settings.format is not None and settings.format not in FORMATS:
        raise UserError(f"unknown format {settings.format!r}; choose from {', '.join(FORMATS)}")
    if not 0 <= settings.max_reject_share <= 1:
        raise UserError(f"the share of bad lines {settings.max_reject_share} is not in 0..1")
    check_conditions(settings)


def hash_files(store: Store, files: Sequence[Path], progress: Progress) -> list[str]:
    """Compute the SHA-256 of each file and of the names of its folders `key=value`.

    So equal files in different partitions are different files. The hash is of the content alone if
    the store holds that, from a file elsewhere or by an earlier version.

    Raises:
        UserError: a file cannot be read.
    """
    stored = {known for (known,) in store.rows("SELECT file_hash FROM ingested_files")}
    hashes = []
    for number, path in enumerate(files):
        progress(f"checking {path.name}", number, len(files))
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
        if (partitions := find_partitions(path)) and digest.hexdigest() not in stored:
            digest.update(json.dumps(partitions, sort_keys=True).encode())
        hashes.append(digest.hexdigest())
    return hashes


def _check_distinct(files: Sequence[Path], hashes: Sequence[str]) -> None:
    first: dict[str, Path] = {}
    for path, file_hash in zip(files, hashes, strict=True):
        if file_hash in first:
            raise UserError(f"{path}: the same content as {first[file_hash]}; name it once")
        first[file_hash] = path


def _find_again(
    store: Store,
    files: tuple[Path, ...],
    hashes: list[str],
    settings: IngestSettings,
    cut: Cut | None,
) -> IngestReport | None:
    """Return the report of the same files; `UserError` if the store has one of them otherwise."""
    stored = store.rows("SELECT file_hash, ingest FROM ingested_files ORDER BY ingest, ordinal")
    ingests = {ingest for file_hash, ingest in stored if file_hash in hashes}
    if not ingests:
        return None
    ingest = min(ingests)
    ((first, last),) = store.rows(
        "SELECT min(period), max(period) FROM periods WHERE ingest = ?", [ingest]
    )
    if [file_hash for file_hash, of_ingest in stored if of_ingest == ingest] == hashes:
        boundaries = None if cut is None else cut(read_events(store, first, last).times)
        key = _content_hash(hashes, settings, boundaries)
        if store.rows("SELECT 1 FROM ingests WHERE content_hash = ?", [key]):
            return read_report(store, files, ingest)
    path = next(
        path for path, value in zip(files, hashes, strict=True) if (value, ingest) in stored
    )
    where = "as part of earlier periods" if first is None else f"periods {first} to {last}"
    raise UserError(
        f"{path}: its content is in the store already ({where}),"
        " read with other settings, another cut or other files; use another store"
    )


def _content_hash(
    hashes: Sequence[str], settings: IngestSettings, boundaries: NDArray[np.int64] | None
) -> str:
    """Hash everything that the events and periods of an ingestion depend on."""
    reading = settings.to_json()
    # It decides whether a file is accepted, not what is read from it.
    del reading["max_reject_share"]
    cut = None if boundaries is None else boundaries.tolist()
    text = json.dumps({"files": list(hashes), "settings": reading, "cut": cut}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
