"""Making a file the next period of a store that holds one, and looking at what came of it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import duckdb
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.fuzz.case import FuzzCase
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.log.vocabulary import item_ids, lookup_items, lookup_users, user_ids
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.reading.staging import stage_log
from perennial.storage.reading.times.timestamps import EARLIEST, LATEST
from perennial.storage.store import Store

_TABLES = (
    "identifier_kinds", "users", "items", "ingests", "ingested_files", "periods", "interactions",
    "rejects",
)  # fmt: skip
# At the beginning of all time, so that whatever follows is later.
_GOOD = b"user_id,item_id,timestamp\n1,2,0\n2,3,0\n1,3,0\n"

Content = Mapping[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a file.

    Attributes:
        verdict: taken, refused, or wrong in a way that no file should bring about.
        words: the refusal, or what is wrong.
    """

    verdict: Literal["taken", "refused", "finding"]
    words: str = ""


class Finding(Exception):  # noqa: N818  # not an error of this program
    """Something that no file should bring about."""


@dataclass(frozen=True)
class _Base:
    """A store with one period, closed, and what is in it."""

    path: Path
    content: Content
    fingerprint: str

    @classmethod
    def of(cls, path: Path, period: Path) -> Self:
        with Store.open(path) as store:
            ingest_period(store, period)
            return cls(path, _read(store), fingerprint(store, 1))


class Judge:
    """A store with one good period, and the check of one file after another on it.

    A refused file leaves the store as it was, so that the next one meets the same store; after a
    file that was taken, or a finding, the store is made anew.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "store.duckdb"
        good = folder / "good.csv"
        good.write_bytes(_GOOD)
        typed = pyarrow.csv.read_csv(good)
        pq.write_table(typed, good.with_suffix(".parquet"))
        self._bases = {
            False: _Base.of(folder / "text.base", good),
            True: _Base.of(folder / "typed.base", good.with_suffix(".parquet")),
        }
        self._open_for: bool | None = None
        self._store: Store | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._drop()

    def judge(self, case: FuzzCase) -> Outcome:
        """Write a file, make it the next period, and look."""
        path = self._folder / case.name
        path.write_bytes(case.content)
        try:
            outcome = self._ingest(case, path)
        except Finding as finding:
            outcome = Outcome("finding", str(finding))
        except Exception as error:  # what is looked for
            outcome = Outcome("finding", f"{type(error).__name__}: {error}")
        finally:
            path.unlink()
        if outcome.verdict != "refused":
            self._drop()
        return outcome

    def _ingest(self, case: FuzzCase, path: Path) -> Outcome:
        base = self._bases[case.typed_store]
        store = self._open(case.typed_store)
        try:
            report = ingest_period(store, path, case.settings)
        except UserError as error:
            words = str(error)
            _check_words(words, path)
            _expect(_read(store) == base.content, f"refused, but the store has changed: {words}")
            _expect(case.must != "be taken", f"a good file was refused: {words}")
            return Outcome("refused", words.removeprefix(f"{path}: "))
        _expect(case.must != "be refused", "a bad file was taken")
        _check_taken(store, base, report, case)
        return Outcome("taken")

    def _open(self, typed: bool) -> Store:
        if self._open_for is not typed:
            self._drop()
        if self._store is None:
            shutil.copyfile(self._bases[typed].path, self._path)
            self._store, self._open_for = Store.open(self._path), typed
        return self._store

    def _drop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        for path in self._folder.glob("store.duckdb*"):
            path.unlink()


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Finding(otherwise[:2000])


def _check_taken(store: Store, base: _Base, report: IngestReport, case: FuzzCase) -> None:
    _expect(fingerprint(store, 1) == base.fingerprint, "the earlier period has changed")
    periods = list_periods(store)
    _expect([one.period for one in periods] == [1, 2], "periods are not numbered 1, 2")
    content = _read(store)
    _expect(
        all(content[name][: len(rows)] == rows for name, rows in base.content.items()
            if name != "identifier_kinds"),
        "rows of the earlier period have changed",
    )  # fmt: skip
    held = len(content["interactions"])
    _expect(sum(one.interactions for one in periods) == held, "interactions are miscounted")
    _expect(report.interactions == periods[1].interactions, "the report miscounts")
    _expect(
        report.lines == report.interactions + report.merged + report.rejected,
        "lines are lost",
    )
    _expect(len(content["rejects"]) == report.rejected, "rejects are lost")
    _check_vocabularies(content)
    events = read_events(store, 1, 2)
    _expect(len(events.times) == held, "events are lost")
    new = events.times[events.periods == 2]
    _expect(bool((np.diff(new) >= 0).all()), "times are not in order")
    if periods[1].has_clock:
        _expect(bool(((new >= EARLIEST) & (new < LATEST)).all()), "a time is out of range")
    _check_identifiers(store, content)
    if case.pairs is not None:
        of_period = events.take(np.flatnonzero(events.periods == 2))
        found = zip(
            map(str, user_ids(store, of_period.users)),
            map(str, item_ids(store, of_period.items)),
            strict=True,
        )
        given = frozenset((canonical(user), canonical(item)) for user, item in case.pairs)
        missing = given ^ frozenset(found)
        _expect(not missing, f"what went in does not come back: {sorted(missing)[:3]!r}")


def judge_reading(case: FuzzCase, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Only read a file, and look at the rows or at the refusal; a hundred times as fast.

    Args:
        case: what to write and read.
        path: where.
        connection: for parsing.

    Raises:
        Finding: something is wrong with either.
    """
    path.write_bytes(case.content)
    try:
        log = stage_log([path], case.settings, connection, ignore_progress)
    except UserError as error:
        _check_words(str(error), path)
        return
    count = len(log.times)
    _expect(len(log.users.codes) == len(log.items.codes) == count, "columns differ in length")
    _expect(count + sum(map(len, log.rejects)) == log.num_lines, "lines are lost")
    for column in (log.users, log.items):
        _expect(bool((column.codes < len(column.ids)).all()), "a code stands for nothing")
        column.ids.validate(full=True)


def _check_words(words: str, path: Path) -> None:
    _expect(len(words.splitlines()) == 1, f"{len(words.splitlines())} lines: {words!r}")
    _expect(words.isprintable(), f"unprintable characters: {words!r}")
    _expect(len(words) < 1000 + len(str(path)), f"{len(words)} characters: {words!r}")


def _read(store: Store) -> Content:
    """All that the log consists of."""
    return {name: store.rows(f"SELECT * FROM {name} ORDER BY rowid") for name in _TABLES}


def _check_vocabularies(content: Content) -> None:
    for place, name in enumerate(("users", "items")):
        indices = [row[0] for row in content[name]]
        _expect(indices == list(range(len(indices))), f"indices of {name} have gaps")
        met = {row[place] for row in content["interactions"]}
        _expect(met == set(indices), f"{name} without an event, or the other way round")
        _expect(len({row[1] for row in content[name]}) == len(indices), f"two {name} are the same")


def _check_identifiers(store: Store, content: Content) -> None:
    for name, ids, lookup in (
        ("users", user_ids, lookup_users),
        ("items", item_ids, lookup_items),
    ):
        indices = np.arange(len(content[name]))
        told = ids(store, indices)
        _expect(list(map(str, told)) == [row[1] for row in content[name]], f"{name} read otherwise")
        _expect(bool((lookup(store, told) == indices).all()), f"{name} are not found again")
