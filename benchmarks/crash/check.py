"""Checks of a store that a killed process left; each rule names what is broken."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.crash.scenario import SENTINELS
from perennial.replay.live.status import read_status
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import list_periods
from perennial.storage.results.artifacts import load_arrays
from perennial.storage.results.fits import find_fit, read_model
from perennial.storage.results.publications import list_publications, read_live
from perennial.storage.results.summaries import find_summary, list_summaries
from perennial.storage.store import Store

_EMPTY_QUERIES = {
    "an event of a user who is not there": "SELECT 1 FROM interactions ANTI JOIN users "
    "USING (user_index)",
    "an event of an item that is not there": "SELECT 1 FROM interactions ANTI JOIN items "
    "USING (item_index)",
    "a period without an ingestion": "SELECT 1 FROM periods ANTI JOIN ingests USING (ingest)",
    "an ingestion without a file": "SELECT 1 FROM ingests ANTI JOIN ingested_files USING (ingest)",
    "a file without an ingestion": "SELECT 1 FROM ingested_files ANTI JOIN ingests USING (ingest)",
    "rejected lines without an ingestion": "SELECT 1 FROM rejects ANTI JOIN ingests USING (ingest)",
    "a cell without a fit": "SELECT 1 FROM cells ANTI JOIN fits USING (fit_key)",
    "a cell without its question": "SELECT 1 FROM cells ANTI JOIN evaluations "
    "USING (evaluation_key)",
    "a cell without figures": "SELECT 1 FROM cells ANTI JOIN figures USING (cell_key)",
    "figures without a cell": "SELECT 1 FROM figures ANTI JOIN cells USING (cell_key)",
    "a run's cell that is not there": "SELECT 1 FROM run_cells ANTI JOIN cells USING (cell_key)",
    "a cell of no run": "SELECT 1 FROM run_cells ANTI JOIN runs USING (run_id)",
    "a figure of users who were not evaluated": "SELECT 1 FROM figures JOIN cells USING (cell_key) "
    "JOIN evaluations USING (evaluation_key) WHERE len(user_values) != len(users) "
    "OR len(user_weights) != len(users)",
    "evaluated users who are not there": "SELECT 1 FROM (SELECT unnest(users) AS user_index "
    "FROM evaluations) ANTI JOIN users USING (user_index)",
    "a run that miscounts its cells": "SELECT 1 FROM runs WHERE status = 'live' AND num_cells != "
    "(SELECT count(*) FROM run_cells WHERE run_cells.run_id = runs.run_id)",
    "cells of a run in no order": "SELECT 1 FROM run_cells GROUP BY run_id "
    "HAVING max(ordinal) != count(*) OR count(DISTINCT ordinal) != count(*)",
    "weights of no summary": "SELECT 1 FROM summary_entries ANTI JOIN summaries "
    "USING (summary_key)",
    "a live model without its run": "SELECT 1 FROM live ANTI JOIN runs USING (run_id)",
    "two live models": "SELECT 1 FROM live HAVING count(*) > 1",
}
"""Broken rule -> a query that then returns rows."""


def find_faults(store: Store) -> list[str]:
    """Everything that is broken in an open store, of any rule."""
    faults = [words for words, query in _EMPTY_QUERIES.items() if store.rows(f"{query} LIMIT 1")]
    for rule in (_indices, _ledger, _hashes, _summaries, _model_files, _publications, _status):
        try:
            faults.extend(rule(store))
        except Exception as error:
            faults.append(f"{rule.__name__.strip('_')}: {type(error).__name__}: {error}")
    return faults


def find_sentinels(folder: Path) -> list[str]:
    """The files in which those who were forgotten can still be read."""
    return [
        f"{path.name} still names who was forgotten"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(name.encode() in path.read_bytes() for name in SENTINELS)
    ]


def are_half_known(store: Store) -> bool:
    """Report sentinels that are there while others are not, or that have no event."""
    ((known, active),) = store.rows(
        """SELECT count(DISTINCT users.user_index), count(DISTINCT interactions.user_index)
        FROM users LEFT JOIN interactions USING (user_index) WHERE id IN (?, ?)""",
        SENTINELS,
    )
    return known != active or known not in (0, len(SENTINELS))


def _indices(store: Store) -> Iterator[str]:
    for table, index in (("users", "user_index"), ("items", "item_index")):
        ((number, distinct, last),) = store.rows(
            f"SELECT count(*), count(DISTINCT id), coalesce(max({index}) + 1, 0) FROM {table}"
        )
        if not number == distinct == last:
            yield f"{table}: {number} rows, {distinct} names, indices up to {last}"
        new = f"new_{table}"
        for period, recorded, found in store.rows(
            f"""SELECT period, {new}, (SELECT count(*) FROM {table} WHERE first_period = period)
            FROM periods ORDER BY period"""
        ):
            if recorded != found:
                name = new.replace("_", " ")
                yield f"period {period}: {found} {name}, the ledger has {recorded}"


def _ledger(store: Store) -> Iterator[str]:
    ((events,),) = store.rows("SELECT count(*) FROM interactions")
    periods = list_periods(store)
    if events != sum(one.kept for one in periods):
        yield f"{events} events, the ledger has {sum(one.kept for one in periods)}"
    if [one.period for one in periods] != list(range(1, len(periods) + 1)):
        yield "periods are not numbered 1, 2, ..."
    for one in periods:
        if one.kept > one.interactions or (one.kept < one.interactions and not one.dropped):
            yield f"period {one.period}: {one.kept} of {one.interactions} events are kept"
    begins = [row for (row,) in store.rows("SELECT first_row FROM periods ORDER BY period")]
    kept = np.array([one.kept for one in periods], np.int64)
    if begins != (np.cumsum(kept) - kept).tolist():
        yield f"periods begin at the rows {begins}"


def _hashes(store: Store) -> Iterator[str]:
    for one in list_periods(store):
        if one.dropped:
            continue
        events = read_events(store, one.period, one.period)
        digest = hashlib.sha256()
        for values, kind in (
            (events.users, np.int32),
            (events.items, np.int32),
            (events.times, np.int64),
        ):
            digest.update(np.ascontiguousarray(values, kind).data)
        new = [
            [name for (name,) in store.rows(query, [one.period])]
            for query in (
                "SELECT id FROM users WHERE first_period = ? ORDER BY user_index",
                "SELECT id FROM items WHERE first_period = ? ORDER BY item_index",
            )
        ]
        digest.update(json.dumps(new).encode())
        if digest.hexdigest() != one.content_hash:
            yield f"period {one.period}: its events are not those of its hash"


def _summaries(store: Store) -> Iterator[str]:
    for record in list_summaries(store):
        # It raises where a row or a weight is missing.
        if find_summary(store, record.key) is None:
            yield f"the summary of period {record.period} is gone"


def _model_files(store: Store) -> Iterator[str]:
    for (name,) in store.rows("SELECT DISTINCT file FROM model_files"):
        try:
            load_arrays(store.models_folder / name)
        except UserError as error:
            yield f"a row names a file that is not whole: {error}"


def _publications(store: Store) -> Iterator[str]:
    record, publications = read_live(store), list_publications(store)
    if record is None or not publications:
        return
    for one in publications:
        if find_fit(store, one.fit_key) is None:
            yield f"the publication of period {one.period} has no fit"
    newest, periods = publications[-1], len(list_periods(store))
    if newest.period > periods:
        yield f"published for period {newest.period}, which is not there"
    kept = read_model(store, newest.fit_key)
    if kept is None:
        # Where the log was written anew, what followed is void, and no older file is kept.
        named = store.rows("SELECT 1 FROM model_files WHERE fit_key = ?", [newest.fit_key])
        if named or newest.period == periods:
            yield f"the model of period {newest.period} is published and not kept"
        return
    ((user,),) = store.rows("SELECT id FROM users JOIN interactions USING (user_index) LIMIT 1")
    answers = Recommender.load(store, [user]).recommend(RecommendationQuery(user=user, k=3))
    if not answers or not all(np.isfinite(answer.score) for answer in answers):
        yield f"the model of period {newest.period} does not answer"


def _status(store: Store) -> Iterator[str]:
    read_status(store).to_json()
    yield from ()
