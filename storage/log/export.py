"""Periods as files: one Parquet file each, which ingestion takes back as the same period."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.storage.errors import UserError
from perennial.storage.log.periods import PeriodSummary, list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, Vocabulary, read_kind
from perennial.storage.objects.bucket import Place
from perennial.storage.objects.copies import OutputFolder, open_folder
from perennial.storage.progress import Progress, ignore_progress
from perennial.storage.store import Store

CHUNK_ROWS = 1 << 20
"""Events that are in memory at a time."""

_NAME = re.compile(r"period-\d{4,}\.parquet")
# Tells our own files from others. It names the period, because ingestion knows files by their
# content, and two periods with the same events are two all the same.
_MARK = b"perennial.period"


@dataclass(frozen=True)
class ExportedPeriod:
    """A period that was written.

    Attributes:
        period: its number.
        path: the file.
        interactions: events in it.
    """

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
    """Write periods to `<folder>/period-0001.parquet` and so on, each whole or not at all.

    The columns are user_id and item_id, int64 where all identifiers are such integers and text
    elsewhere, and timestamp, µs in UTC. Without a clock there is no third column, and rows lie in
    log order. Ingested one by one into an empty store, the files of all periods give the same log
    again, to the fingerprint; only the lines of a period without a clock count from 1 anew.

    Args:
        store: that holds them.
        folder: made where absent, or on object storage.
        numbers: of the periods; all if empty.
        force: replace files of these names that are no exports, and remove those of other periods.
        progress: told how many events are written.

    Raises:
        UserError: no such period, its events are no longer held, the folder holds something else,
            or a file cannot be written; files that were finished before stay.
    """
    chosen = _choose(store, numbers)
    width = len(str(list_periods(store)[-1].period))
    names = [f"period-{one.period:0{max(4, width)}d}.parquet" for one in chosen]
    schema_of = _Schemas(_identifier_type(store, USERS), _identifier_type(store, ITEMS))
    total, done = sum(one.kept for one in chosen), 0
    try:
        with open_folder(folder, store.path.parent if store.path else Path()) as target:
            others = _check_folder(target, names, is_whole=not numbers, force=force)
            for one, name in zip(chosen, names, strict=True):
                progress(f"writing {name}", done, total)
                _write(store, one, target, name, schema_of(one))
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


@dataclass(frozen=True)
class _Schemas:
    """The columns of files, from the types of the two vocabularies."""

    users: pa.DataType
    items: pa.DataType

    def __call__(self, period: PeriodSummary) -> pa.Schema:
        """Those of a period's file."""
        fields = [pa.field("user_id", self.users), pa.field("item_id", self.items)]
        if period.has_clock:
            fields.append(pa.field("timestamp", pa.timestamp("us", "UTC")))
        return pa.schema(fields, {_MARK: str(period.period)})


def _choose(store: Store, numbers: Sequence[int]) -> tuple[PeriodSummary, ...]:
    periods = list_periods(store)
    if not periods:
        raise UserError(f"{_name(store)}: no period in it yet; `perennial ingest` makes one")
    unknown = set(numbers).difference(one.period for one in periods)
    if unknown:
        raise UserError(
            f"{_name(store)}: there is no period {min(unknown)}; the last is {periods[-1].period}"
        )
    chosen = [one for one in periods if not numbers or one.period in numbers]
    dropped = [one.period for one in chosen if not one.kept]
    if dropped:
        held = [one.period for one in periods if one.kept]
        rest = f"name others with --period, from {held[0]} on" if held else "no other is held"
        raise UserError(
            f"{_name(store)}: the events of period {dropped[-1]} are no longer in the store; {rest}"
        )
    return tuple(chosen)


def _name(store: Store) -> str:
    return str(store.path or "the log")


def _check_folder(
    folder: OutputFolder, names: Sequence[str], *, is_whole: bool, force: bool
) -> tuple[str, ...]:
    """See that nothing else is lost, and that the folder will hold this export alone.

    Returns:
        Files of other periods, to be removed.
    """
    there = [name for name in folder.names() if _NAME.fullmatch(name)]
    others = tuple(name for name in there if name not in names) if is_whole else ()
    if force:
        return others
    foreign = next((name for name in there if name in names and not _is_export(folder, name)), None)
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


def _identifier_type(store: Store, vocabulary: Vocabulary) -> pa.DataType:
    """One type for all periods: integers and strings in two files would not go together."""
    kind = read_kind(store, vocabulary)
    if kind is None or kind.kind != "integer":
        return pa.string()
    (longer,) = store.rows(
        f"SELECT count(*) FROM {vocabulary.table} WHERE try_cast(id AS BIGINT) IS NULL"
    )
    return pa.string() if longer[0] else pa.int64()


def _write(
    store: Store, period: PeriodSummary, folder: OutputFolder, name: str, schema: pa.Schema
) -> None:
    with (
        folder.writing(name) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        for chunk in _read_chunks(store, period, schema):
            writer.write_table(chunk)


def _read_chunks(store: Store, period: PeriodSummary, schema: pa.Schema) -> Iterator[pa.Table]:
    """The events of a period in log order, with their identifiers."""
    (first,) = store.rows("SELECT first_row FROM periods WHERE period = ?", [period.period])
    end = first[0] + period.kept
    names = ", ".join(schema.names)
    for start in range(first[0], end, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, end)
        found = store.table(
            f"""SELECT {names} FROM (
                SELECT users.id AS user_id, items.id AS item_id, time AS timestamp, place
                FROM (SELECT *, rowid AS place FROM interactions WHERE rowid >= ? AND rowid < ?)
                JOIN users USING (user_index) JOIN items USING (item_index))
            ORDER BY place""",
            [start, stop],
        )
        if found.num_rows != stop - start:
            raise UserError(
                f"{_name(store)}: {stop - start - found.num_rows} events of period {period.period} "
                "have no identifiers, so the file is damaged; put a copy in its place"
            )
        yield found.cast(schema)
