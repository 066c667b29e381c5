"""The ledger of ingestions: files, numbers of lines, bad lines, and the report of each."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from perennial.storage.errors import UserError
from perennial.storage.reading.filters import check_conditions, describe_conditions
from perennial.storage.reading.layout import FileLayout
from perennial.storage.reading.rejects import Rejects
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store


@dataclass(frozen=True)
class IngestReport:
    """Report of an ingestion.

    Attributes:
        already_ingested: True if the store had the same content and nothing changed; the numbers
            below are those of the first time.
        lines: number of lines read, bad ones included.
        interactions: number of events stored.
        merged: number of rows left out as equal to another in user, item and time.
        rejected: number of bad lines, by reason in `reject_reasons`.
        filtered: number of rows that do not count.
        periods: numbers of the periods made of the files.
        layouts: interpretation of each file; empty for an earlier ingestion.
        remarks: what the owner of the files should know, one line each.
    """

    paths: tuple[Path, ...]
    already_ingested: bool
    lines: int
    interactions: int
    merged: int
    rejected: int
    reject_reasons: Mapping[str, int]
    periods: tuple[int, ...]
    layouts: tuple[FileLayout, ...] = ()
    remarks: tuple[str, ...] = ()
    filtered: int = 0


IngestListener = Callable[[IngestReport], None]
"""Called with the report of each ingestion."""


def ignore_report(_report: IngestReport) -> None:
    """Do nothing with a report."""


def record_ingest(
    store: Store,
    ingest: int,
    content_hash: str,
    settings: str,
    boundaries: NDArray[np.int64] | None,
    counts: tuple[int, int, int, int],
) -> None:
    """Record an ingestion in the ledger.

    For use inside a transaction. `boundaries` are `(m,)` int64, µs; `None` if a file is a period.
    `counts` are the numbers of lines read, events merged, lines rejected and rows
    that do not count.
    """
    cut = None if boundaries is None else json.dumps(boundaries.tolist())
    store.rows(
        "INSERT INTO ingests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [ingest, content_hash, settings, cut, *counts],
    )


def record_files(
    store: Store,
    ingest: int,
    files: Sequence[Path],
    hashes: Sequence[str],
    rejects: Sequence[Rejects],
) -> None:
    """Record the files of an ingestion and their bad lines, inside a transaction."""
    numbers = pa.repeat(pa.scalar(ingest, pa.int32()), len(files))
    names = [path.name for path in files]
    ordinals = np.arange(len(files), dtype=np.int32)
    store.insert(
        "ingested_files",
        pa.table({"file_hash": hashes, "ingest": numbers, "ordinal": ordinals, "name": names}),
    )
    for name, bad in zip(names, rejects, strict=True):
        if len(bad):
            store.insert(
                "rejects",
                pa.table(
                    {
                        "ingest": pa.repeat(pa.scalar(ingest, pa.int32()), len(bad)),
                        "file": pa.repeat(name, len(bad)),
                        "line": bad.lines,
                        "reason": bad.reasons(),
                    }
                ),
            )


def read_report(store: Store, files: tuple[Path, ...], ingest: int) -> IngestReport:
    """Read the report of an earlier ingestion of the same files."""
    lines, merged, rejected, filtered = store.rows(
        "SELECT lines, merged, rejected, filtered FROM ingests WHERE ingest = ?", [ingest]
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
        filtered=filtered,
    )


def read_settings(store: Store) -> IngestSettings | None:
    """Read the settings of the last ingestion, or those fixed before the first; else `None`."""
    rows = store.rows("SELECT settings FROM ingests ORDER BY ingest DESC LIMIT 1")
    rows = rows or store.rows("SELECT settings FROM conditions")
    return TypeAdapter(IngestSettings).validate_json(rows[0][0]) if rows else None


def fix_conditions(store: Store, settings: IngestSettings, *, replace: bool = False) -> None:
    """Fix the conditions for all files to come, if any are given; for use inside a transaction.

    With `replace` they replace other ones, as long as there is no ingestion.

    Raises:
        UserError: as of `check_conditions` and `continue_filters`.
    """
    check_conditions(settings)
    if settings.min_rating is None and settings.where is None:
        return
    has_log = bool(store.rows("SELECT 1 FROM ingests LIMIT 1"))
    if has_log or not replace:
        settings = continue_filters(store, settings)
    if not has_log:
        store.rows("DELETE FROM conditions")
        store.rows("INSERT INTO conditions VALUES (?)", [json.dumps(settings.to_json())])


def continue_filters(store: Store, settings: IngestSettings) -> IngestSettings:
    """Return settings under which rows count as in the log of a store.

    Conditions that are not given are those of `read_settings`.

    Raises:
        UserError: other conditions are given: a log in which rows count differently from night to
            night would compare what cannot be compared.
    """
    recorded = read_settings(store)
    if recorded is not None:
        neither = "neither --min-rating nor --where"
        for option, given, known in (
            ("--min-rating", settings.min_rating, recorded.min_rating),
            ("--where", settings.where, recorded.where),
        ):
            if given is not None and given != known:
                raise UserError(
                    f"the log in {store.path or 'the store'} is read with "
                    f"{describe_conditions(recorded) or neither}; leave {option} out, or use "
                    "another store"
                )
        settings = dataclasses.replace(
            settings,
            min_rating=recorded.min_rating,
            rating_column=settings.rating_column or recorded.rating_column,
            where=recorded.where,
        )
    return settings
