"""Export of periods: one Parquet file each, which ingestion reads as the same period."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.periods import PeriodSummary, list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, identifier_type
from perennial.storage.objects.bucket import Place
from perennial.storage.objects.copies import OutputFolder, open_folder
from perennial.storage.store import Store

CHUNK_ROWS = 1 << 20
"""Events in memory at a time."""

_NAME = re.compile(r"period-\d{4,}\.parquet")
# Identifies our own files. Its value is the period: ingestion identifies files by content, and two
# periods with the same events must not be the same file.
_MARK = b"perennial.period"


@dataclass(frozen=True)
class ExportedPeriod:
    """An exported period."""

    period: int
    path: Place
    interactions: int


def export_periods(
    store: Store,
    folder: Place,
    numbers: Sequence[int] = (),
    *,
    force: bool = False,
    progress: Progress = ignore_progress,
) -> tuple[ExportedPeriod, ...]:
    """Write periods to `<folder>/period-0001.parquet` and so on, each atomically.

    The columns are user_id and item_id, int64 if all identifiers are such integers and text
    otherwise, and timestamp, µs in UTC. Without times there is no third column. Rows are in log
    order. Ingested one by one into an empty store, the files of all periods give the same log with
    the same fingerprint; only the lines of a period without times count from 1 again.

    `force` replaces files of these names that are no exports, and removes those of other periods.
    All periods are written if no `numbers` are given. Progress is the number of events written so
    far.

    Raises:
        UserError: no such period, its events were dropped, the folder holds other files, or a file
            cannot be written; finished files stay.
    """
    chosen = _choose(store, numbers)
    width = len(str(list_periods(store)[-1].period))
    names = [f"period-{one.period:0{max(4, width)}d}.parquet" for one in chosen]
    types = [identifier_type(store, vocabulary) for vocabulary in (USERS, ITEMS)]
    total, done = sum(one.kept for one in chosen), 0
    try:
        with open_folder(folder, store.path.parent if store.path else Path()) as target:
            others = _check_folder(target, names, is_whole=not numbers, force=force)
            for one, name in zip(chosen, names, strict=True):
                progress(f"writing {name}", done, total)
                schema = _make_schema(one, *types)
                with (
                    target.writing(name) as path,
                    pq.ParquetWriter(path, schema, compression="zstd") as writer,
                ):
                    for chunk in _read_chunks(store, one, schema):
                        writer.write_table(chunk)
                done += one.kept
            for name in others:
                target.remove(name)
    except OSError as error:
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: cannot be written ({words}); check the folder") from error
    return tuple(
        ExportedPeriod(one.period, folder / name, one.kept)
        for one, name in zip(chosen, names, strict=True)
    )


def _make_schema(period: PeriodSummary, users: pa.DataType, items: pa.DataType) -> pa.Schema:
    fields = [pa.field("user_id", users), pa.field("item_id", items)]
    if period.has_clock:
        fields.append(pa.field("timestamp", pa.timestamp("us", "UTC")))
    return pa.schema(fields, {_MARK: str(period.period)})


def _choose(store: Store, numbers: Sequence[int]) -> tuple[PeriodSummary, ...]:
    periods = list_periods(store)
    name = store.path or "the log"
    if not periods:
        raise UserError(f"{name}: no period in it yet; `perennial ingest` makes one")
    if unknown := set(numbers).difference(one.period for one in periods):
        last = periods[-1].period
        raise UserError(f"{name}: there is no period {min(unknown)}; the last is {last}")
    chosen = [one for one in periods if not numbers or one.period in numbers]
    dropped = [one.period for one in chosen if one.dropped]
    if dropped:
        kept = [one.period for one in periods if not one.dropped]
        rest = f"name others with --period, from {kept[0]} on" if kept else "no other is stored"
        raise UserError(
            f"{name}: the events of period {dropped[-1]} are no longer in the store; {rest}"
        )
    return tuple(chosen)


def _check_folder(
    folder: OutputFolder, names: Sequence[str], *, is_whole: bool, force: bool
) -> tuple[str, ...]:
    """Check that no other file is overwritten, and that no file of another period remains.

    Returns:
        Files of other periods, to be removed.

    Raises:
        UserError: a file must be replaced or removed, and `force` is False.
    """
    present = [name for name in folder.names() if _NAME.fullmatch(name)]
    others = tuple(name for name in present if name not in names) if is_whole else ()
    if force:
        return others
    foreign = next(
        (name for name in present if name in names and not _is_export(folder, name)), None
    )
    if foreign is not None:
        raise UserError(
            f"{folder.place / foreign}: is there and no export of a period; name another folder, "
            "or --force"
        )
    if others:
        raise UserError(
            f"{folder.place / others[0]}: is there and none of these {len(names)} periods; name "
            "another folder, or --force to remove it"
        )
    return ()


def _is_export(folder: OutputFolder, name: str) -> bool:
    try:
        return _MARK in (pq.read_schema(folder.open(name)).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _read_chunks(store: Store, period: PeriodSummary, schema: pa.Schema) -> Iterator[pa.Table]:
    (first,) = store.rows("SELECT first_row FROM periods WHERE period = ?", [period.period])
    end = first[0] + period.kept
    names = ", ".join(schema.names)
    for start in range(first[0], end, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, end)
        chunk = store.table(
            f"""SELECT {names} FROM (
                SELECT users.id AS user_id, items.id AS item_id, time AS timestamp, place
                FROM (SELECT *, rowid AS place FROM interactions WHERE rowid >= ? AND rowid < ?)
                JOIN users USING (user_index) JOIN items USING (item_index))
            ORDER BY place""",
            [start, stop],
        )
        if chunk.num_rows != stop - start:
            raise UserError(
                f"{store.path or 'the log'}: {stop - start - chunk.num_rows} events of period "
                f"{period.period} have no identifiers, so the file is damaged; put a copy in its "
                "place"
            )
        yield chunk.cast(schema)
