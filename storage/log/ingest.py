"""Ingestion: a file becomes the next period, or a whole log several, in one transaction."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.log.append import OrderedLog, append_log, record_files, record_ingest
from perennial.storage.log.late_events import describe_overlap, merge_late
from perennial.storage.log.matrices import read_events
from perennial.storage.log.sort import LogRows, hash_identifiers, order_log
from perennial.storage.progress import Progress, ignore_progress
from perennial.storage.reading.columns import ColumnChoice
from perennial.storage.reading.formats import FORMATS
from perennial.storage.reading.rejects import Rejects, total_counts
from perennial.storage.reading.staging import stage_log
from perennial.storage.store import Store

Late = Literal["refuse", "merge"]
"""What is done with a file of a time that the store has a period of already."""

Cut = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Sorted times (µs) -> increasing boundaries; a row lies in period 1 + (boundaries ≤ its time)."""


@dataclass(frozen=True)
class IngestSettings:
    """How to read log files.

    Attributes:
        user_column: name of the user column (in a file without a header its place, "1" for the
            first); None guesses.
        item_column: likewise.
        time_column: likewise.
        format: one of `FORMATS`; None tells by the file's name and first lines.
        max_reject_share: of the lines of a file, how many may be bad, in [0, 1].
        tie_seed: seed of the order of events at equal times.
    """

    user_column: str | None = None
    item_column: str | None = None
    time_column: str | None = None
    format: str | None = None
    max_reject_share: float = 0.05
    tie_seed: int = 0

    @property
    def choice(self) -> ColumnChoice:
        """The names of columns that were given."""
        return ColumnChoice(self.user_column, self.item_column, self.time_column)


DEFAULT_SETTINGS = IngestSettings()


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
        paths: the files.
        already_ingested: the same content was there and nothing changed; the figures below are
            those of the first time.
        lines: lines read, bad ones included.
        interactions: events kept.
        merged: rows left out as equal to another in user, item and time.
        rejected: bad lines.
        reject_reasons: bad lines per reason.
        periods: the periods that the files became.
    """

    paths: tuple[Path, ...]
    already_ingested: bool
    lines: int
    interactions: int
    merged: int
    rejected: int
    reject_reasons: Mapping[str, int]
    periods: tuple[int, ...]


def ingest_period(
    store: Store,
    path: Path | str,
    settings: IngestSettings = DEFAULT_SETTINGS,
    progress: Progress = ignore_progress,
    late: Late = "refuse",
) -> IngestReport:
    """Make a file the next period.

    Args:
        store: where to keep it.
        path: the file.
        settings: how to read it.
        progress: told what is being done.
        late: `merge` puts events that are older than the newest period, or overlap it, among those
            of their own periods; the store is written anew then.

    Raises:
        UserError: the file cannot be read or is refused; the store is as before.
    """
    return _ingest(store, [path], None, settings, progress, late)


def ingest_log(
    store: Store,
    paths: Sequence[Path | str],
    cut: Cut,
    settings: IngestSettings = DEFAULT_SETTINGS,
    progress: Progress = ignore_progress,
) -> IngestReport:
    """Cut a whole log, in one or several files, into the next periods.

    Args:
        store: where to keep it.
        paths: the files; several are one log, and equal rows are merged across them.
        cut: from the sorted times of its events to boundaries. Periods that would be empty are
            left out and the others numbered without gaps.
        settings: how to read the files.
        progress: told what is being done.

    Raises:
        UserError: a file cannot be read or is refused; the store is as before.
    """
    return _ingest(store, paths, cut, settings, progress)


def _ingest(
    store: Store,
    paths: Sequence[Path | str],
    cut: Cut | None,
    settings: IngestSettings,
    progress: Progress,
    late: Late = "refuse",
) -> IngestReport:
    files = tuple(Path(path) for path in paths)
    _check(files, settings)
    hashes = hash_files(files, progress)
    _check_distinct(files, hashes)
    if (report := _find_again(store, files, hashes, settings, cut)) is not None:
        return report
    ready = _prepare(store, files, cut, settings, progress)
    collision = describe_overlap(store, ready.log)
    if collision is not None and late == "refuse":
        raise UserError(
            f"{files[0]}: {collision}; nothing was taken. Ingest files in the order of time, or "
            "put it among the others with --late merge"
        )
    progress("writing events", 0, None)
    ingest = store.rows("SELECT coalesce(max(ingest), 0) + 1 FROM ingests")[0][0]

    def enter(target: Store, merged: int) -> None:
        key = _content_hash(hashes, settings, ready.boundaries)
        counts = (ready.num_lines, merged, sum(map(len, ready.rejects)))
        record_ingest(target, ingest, key, json.dumps(asdict(settings)), ready.boundaries, counts)
        record_files(target, ingest, files, hashes, ready.rejects)

    num_events, equal = len(ready.log.times), 0
    if collision is None:
        source = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
        with store.transaction():
            periods = append_log(store, ready.log, ingest, source)
            enter(store, ready.merged)
    else:
        taken = merge_late(
            store,
            ready.log,
            settings.tie_seed,
            files[0].name,
            lambda new, equal: enter(new, ready.merged + equal),
        )
        periods, equal = taken.periods, taken.equal
    return IngestReport(
        paths=files,
        already_ingested=False,
        lines=ready.num_lines,
        interactions=num_events - equal,
        merged=ready.merged + equal,
        rejected=sum(map(len, ready.rejects)),
        reject_reasons=total_counts(ready.rejects),
        periods=periods,
    )


@dataclass(frozen=True)
class _Ready:
    """A log that only has to be written.

    Attributes:
        log: its events.
        boundaries: of the cut; None where a file is a period.
        merged: rows left out as equal to another.
        num_lines: lines read, bad ones included.
        rejects: bad lines, per file.
    """

    log: OrderedLog
    boundaries: NDArray[np.int64] | None
    merged: int
    num_lines: int
    rejects: tuple[Rejects, ...]


def _prepare(
    store: Store,
    files: tuple[Path, ...],
    cut: Cut | None,
    settings: IngestSettings,
    progress: Progress,
) -> _Ready:
    """Read files, put their events in order and cut them."""
    log = stage_log(
        files,
        settings.choice,
        settings.format,
        settings.max_reject_share,
        store.connection,
        progress,
    )
    progress("ordering events", 0, None)
    users, items, times, has_clock = log.users, log.items, log.times, log.has_clock
    num_lines, rejects, merged = log.num_lines, log.rejects, 0
    if has_clock:
        hashes = [hash_identifiers(column.ids, settings.tie_seed) for column in (users, items)]
        order = order_log(LogRows(times, log.time_scale, users.codes, items.codes, *hashes))
        # The events are most of the memory there is: what is done with takes in what comes.
        done_with = users.codes
        users = replace(users, codes=order.take(users.codes))
        items = replace(items, codes=order.take(items.codes, out=done_with))
        times, merged = order.into_times(), order.merged
    boundaries, edges = _cut(times, cut)
    ordered = OrderedLog(users, items, times, has_clock, edges)
    return _Ready(ordered, boundaries, merged, num_lines, rejects)


def _cut(
    times: NDArray[np.int64], cut: Cut | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """A cut's boundaries, and the places where periods begin and the last one ends."""
    ends = np.array([0, len(times)])
    if cut is None:
        return None, ends
    shown = times.view()
    shown.flags.writeable = False
    boundaries = np.asarray(cut(shown), np.int64)
    # Doubled edges are empty periods.
    return boundaries, np.unique(np.concatenate([ends, np.searchsorted(times, boundaries)]))


def _check(files: tuple[Path, ...], settings: IngestSettings) -> None:
    if not files:
        raise UserError("no file to ingest; name at least one")
    if settings.format is not None and settings.format not in FORMATS:
        raise UserError(f"unknown format {settings.format!r}; choose from {', '.join(FORMATS)}")
    if not 0 <= settings.max_reject_share <= 1:
        raise UserError(f"the share of bad lines {settings.max_reject_share} is not in 0..1")


def hash_files(files: Sequence[Path], progress: Progress) -> list[str]:
    """Compute the SHA-256 of each file.

    Raises:
        UserError: a file cannot be read.
    """
    hashes = []
    for number, path in enumerate(files):
        progress(f"checking {path.name}", number, len(files))
        try:
            with path.open("rb") as stream:
                hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
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
    """The report of these files if they are in the store, read and cut in the same way.

    Raises:
        UserError: one of them is there otherwise; taking it again would double its events.
    """
    held = store.rows("SELECT file_hash, ingest FROM ingested_files ORDER BY ingest, ordinal")
    ingests = {ingest for file_hash, ingest in held if file_hash in hashes}
    if not ingests:
        return None
    ingest = min(ingests)
    if [file_hash for file_hash, of_ingest in held if of_ingest == ingest] == hashes:
        boundaries = None if cut is None else cut(_stored_times(store, ingest))
        key = _content_hash(hashes, settings, boundaries)
        if store.rows("SELECT 1 FROM ingests WHERE content_hash = ?", [key]):
            return _first_report(store, files, ingest)
    path = next(path for path, value in zip(files, hashes, strict=True) if (value, ingest) in held)
    periods = store.rows("SELECT min(period), max(period) FROM periods WHERE ingest = ?", [ingest])
    where = "as part of earlier periods"
    if periods[0][0] is not None:
        where = f"periods {periods[0][0]} to {periods[0][1]}"
    raise UserError(
        f"{path}: its content is in the store already ({where}),"
        " read with other settings, another cut or other files; use another store"
    )


def _stored_times(store: Store, ingest: int) -> NDArray[np.int64]:
    periods = store.rows("SELECT min(period), max(period) FROM periods WHERE ingest = ?", [ingest])
    return read_events(store, *periods[0]).times


def _content_hash(
    hashes: Sequence[str], settings: IngestSettings, boundaries: NDArray[np.int64] | None
) -> str:
    """Hash all that the events and periods of an ingestion follow from."""
    reading = asdict(settings)
    # It decides whether a file is taken, not what is taken from it.
    del reading["max_reject_share"]
    cut = None if boundaries is None else boundaries.tolist()
    text = json.dumps({"files": list(hashes), "settings": reading, "cut": cut}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _first_report(store: Store, files: tuple[Path, ...], ingest: int) -> IngestReport:
    lines, merged, rejected = store.rows(
        "SELECT lines, merged, rejected FROM ingests WHERE ingest = ?", [ingest]
    )[0]
    periods = store.rows(
        "SELECT period, interactions FROM periods WHERE ingest = ? ORDER BY period", [ingest]
    )
    reasons = store.rows(
        "SELECT reason, count(*) FROM rejects WHERE ingest = ? GROUP BY reason ORDER BY reason",
        [ingest],
    )
    return IngestReport(
        paths=files,
        already_ingested=True,
        lines=lines,
        interactions=sum(interactions for _, interactions in periods),
        merged=merged,
        rejected=rejected,
        reject_reasons=dict(reasons),
        periods=tuple(period for period, _ in periods),
    )
