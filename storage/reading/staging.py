"""Reading the files of one ingestion and rejecting bad lines, before the store is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.parallel import run_all
from perennial.storage.reading.columns import Column, printable
from perennial.storage.reading.filters import describe_conditions
from perennial.storage.reading.formats import read_file
from perennial.storage.reading.identifiers import (
    ITEM_FAULTS,
    USER_FAULTS,
    ColumnFaults,
    Encoded,
    IdentifierKind,
    check_exact,
    describe_mixture,
    encode,
    join_kinds,
    merge,
)
from perennial.storage.reading.layout import FileLayout, RawFile, name_column
from perennial.storage.reading.rejects import Fault, Rejects, check_share
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.reading.times.timestamps import (
    Times,
    describe_unparsable,
    looks_like_times,
    parse_times,
)

# Values that are looked at to describe a column.
_EXAMPLES = 100


@dataclass(frozen=True)
class StagedLog:
    """The valid rows of one file or several.

    Attributes:
        times: `(n,)` int64, time since 1970, or line of each row if the files have no times.
        time_scale: µs per unit of `times`; 1 for lines.
        has_clock: True if `times` are times.
        num_lines: number of lines read, bad ones included.
        rejects: bad lines, per file.
        layouts: interpretation of each file.
        remarks: what the owner of the files should know of that, one line each.
        uncounted: values of the columns of the conditions, if no row counts.
    """

    users: Encoded
    items: Encoded
    times: NDArray[np.int64]
    time_scale: int
    has_clock: bool
    num_lines: int
    rejects: tuple[Rejects, ...]
    layouts: tuple[FileLayout, ...]
    remarks: tuple[str, ...]
    uncounted: str = ""

    @property
    def last_line(self) -> int:
        """Last line that is not blank; only for one file without times."""
        lines = [int(places[-1]) for places in (self.times, self.rejects[0].lines) if len(places)]
        return max(lines, default=0)


def stage_log(
    files: Sequence[Path],
    settings: IngestSettings,
    connection: duckdb.DuckDBPyConnection,
    progress: Progress,
) -> StagedLog:
    """Read files, at least one, as one log; see `read_file`.

    At most `settings.max_reject_share` of the lines of a file may be bad. The time zone of the
    session of `connection` must be UTC.

    Raises:
        UserError: a file cannot be read, has too many bad lines or does not go with the others, or
            all are empty.
    """
    staged = []
    for number, path in enumerate(files):
        progress(f"reading {path.name}", number, len(files))
        raw = read_file(path, settings, progress)
        try:
            staged.append(_stage_file(raw, settings, connection))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    log = staged[0] if len(staged) == 1 else _merge_files(files, staged)
    if not len(log.times):
        filtered = sum(layout.filtered for layout in log.layouts)
        if not filtered:
            raise UserError(f"{files[0]}: no interactions in it")
        rows = f"{files[0]}: none of its {filtered:,} rows"
        if len(files) > 1:
            rows = f"none of the {filtered:,} rows of {len(files)} files"
        raise UserError(f"{rows} counts with {describe_conditions(settings)}: {log.uncounted}")
    return log


def _stage_file(
    raw: RawFile, settings: IngestSettings, connection: duckdb.DuckDBPyConnection
) -> StagedLog:
    users, items = run_all(
        [
            partial(_encode, raw.users, raw.layout.user, USER_FAULTS, raw.typed[0]),
            partial(_encode, raw.items, raw.layout.item, ITEM_FAULTS, raw.typed[1]),
        ]
    )
    if raw.times is None:
        times = Times(raw.order(), 1, None)
    else:
        with name_column(raw.layout.time or "time"):
            times = parse_times(raw.times, connection, settings.time_format)
    advice = _advise(raw, times, connection)
    faults = _first_faults([users.faults, items.faults, times.faults])
    for column, name in ((raw.users, raw.layout.user), (raw.items, raw.layout.item)):
        with name_column(name):
            check_exact(column, faults)
    rejects, values = raw.rejects, times.values
    if faults is not None:
        good, bad = faults == 0, faults != 0
        users, items, values = users.keep(good), items.keep(good), values[good]
        rejects = Rejects.join([rejects, Rejects(raw.line_numbers()[bad], faults[bad])])
    _check_identifiers(users, "user", raw.layout.user)
    _check_identifiers(items, "item", raw.layout.item)
    check_share(rejects, raw.num_lines, settings.max_reject_share, advice)
    return StagedLog(
        users,
        items,
        # Arrays of Arrow are read-only.
        np.require(values, requirements="W"),
        times.scale,
        raw.times is not None,
        raw.num_lines,
        (rejects,),
        (raw.layout,),
        (*raw.remarks, *([times.remark] if times.remark else [])),
        raw.uncounted,
    )


def _encode(column: Column, name: str, faults: ColumnFaults, typed: bool) -> Encoded:
    with name_column(name):
        return encode(column, faults, typed=typed)


def _first_faults(columns: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8] | None:
    """Return the first fault of each row, the exact range last; `None` if no column has any."""
    faults: NDArray[np.uint8] | None = None
    for column in columns:
        if column is not None:
            if faults is None:
                faults = column
                continue
            replaced = (faults == 0) | ((faults == Fault.INEXACT) & (column != 0))
            faults = np.where(replaced, column, faults)
    return faults


def _advise(raw: RawFile, times: Times, connection: duckdb.DuckDBPyConnection) -> str:
    """Return what the owner of a file with bad times should know of them."""
    if raw.times is None or times.faults is None:
        return ""
    bad = np.flatnonzero(times.faults == Fault.BAD_TIME)[:_EXAMPLES]
    if not len(bad):
        return ""
    texts = [str(value) for value in pa.chunked_array(raw.times).take(pa.array(bad)).to_pylist()]
    return f"; {describe_unparsable(texts, connection)}"


def _check_identifiers(column: Encoded, what: str, name: str) -> None:
    """Raise a `UserError` that names the column if identifiers are times."""
    texts = [text for text in column.ids[:_EXAMPLES].to_pylist() if text.strip()]
    if looks_like_times(texts):
        raise UserError(
            f"the {what}s, {name}, are times ({printable(texts[0], 40)}, ...): name the right "
            "columns with --user-column, --item-column and --time-column"
        )


def _merge_files(files: Sequence[Path], logs: Sequence[StagedLog]) -> StagedLog:
    """Concatenate the rows of several files; lines are numbered through all files."""
    with_clock = [log.has_clock for log in logs]
    if len(set(with_clock)) > 1:
        without = files[with_clock.index(False)]
        raise UserError(f"{without}: no times in it, but in other files; ingest them separately")
    if with_clock[0]:
        parts = [Times(log.times, log.time_scale, None).micros for log in logs]
    else:
        starts = np.cumsum([0, *(log.last_line for log in logs[:-1])])
        parts = [log.times + start for log, start in zip(logs, starts, strict=True)]
    users, items = [log.users for log in logs], [log.items for log in logs]
    kind_of_users, of_users = _join_all_kinds(files, users, "users")
    kind_of_items, of_items = _join_all_kinds(files, items, "items")
    remarks = (*(remark for log in logs for remark in log.remarks), *of_users, *of_items)
    return StagedLog(
        merge(users, kind_of_users),
        merge(items, kind_of_items),
        np.concatenate(parts),
        1,
        with_clock[0],
        sum(log.num_lines for log in logs),
        tuple(rejects for log in logs for rejects in log.rejects),
        tuple(layout for log in logs for layout in log.layouts),
        tuple(dict.fromkeys(remarks)),
        next((log.uncounted for log in logs if log.uncounted), ""),
    )


def _join_all_kinds(
    files: Sequence[Path], columns: Sequence[Encoded], what: str
) -> tuple[IdentifierKind, tuple[str, ...]]:
    """Return the common kind of the identifiers of several files, and at most one remark on it."""
    named = zip(files, columns, strict=True)
    # A file without rows has no kind of identifiers.
    kinds = [(path, column.kind) for path, column in named if len(column.codes)]
    known, remarks = kinds[0][1] if kinds else columns[0].kind, []
    for path, kind in kinds[1:]:
        name = f"{path}: its {what}"
        joint = join_kinds(known, kind, name)
        remarks.append(describe_mixture(known, kind, name))
        known = joint
    return known, tuple(remark for remark in remarks if remark is not None)[:1]
