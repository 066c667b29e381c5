"""Cells, evaluated users and summaries to put into a store."""

import dataclasses
from datetime import datetime

import numpy as np
from scipy.sparse import csr_array

from perennial.storage.results.cells import Cell, EvaluatedUsers, Figure, UserFigure, insert_cell
from perennial.storage.results.fits import Fit, find_fit, insert_fit, insert_model_file, write_model
from perennial.storage.results.runs import insert_run_cell
from perennial.storage.results.summaries import StoredSummary, SummaryRecord

START = datetime(2025, 1, 2, 3, 4, 5, 678)
COUNTS = {"skipped_users": 3, "targets": 17}


def make_cell(key="cell", **changes):
    cell = Cell(
        key=key, fit_key="fit", evaluation_key="evaluation", strategy="joint",
        model="it's; a model", seed=2**62, fit_period=4, eval_period=5,
        figures=(Figure("HR", 10, 12.5, 3), Figure("AUC", None, None, 3)),
        fit_report={"reg": 5.0, "note": None}, stages={"fit": 1.5, "evaluate": 0.25},
        peak_rss_bytes=2**40, versions={"jax": "0"}, finished=START,
    )  # fmt: skip
    return dataclasses.replace(cell, **changes)


def make_evaluated(cell, users=(4, 9, 2)):
    return EvaluatedUsers(
        cell.evaluation_key, cell.fit_period, cell.eval_period, np.array(users, np.int32), COUNTS
    )


def make_user_figures(last=3.0):
    return [
        UserFigure("HR", 10, np.array([1, 2, last], np.float32), None),
        UserFigure("AUC", None, np.zeros(3, np.float32), np.array([0, 1, 2.5], np.float32)),
    ]


def record_cell(store, cell, run_id=None, *, memory_limit=None, users=(4, 9, 2), values=None):
    """Record a cell with its fit, users and figures, by default its own; link it to a run."""
    values = values or make_user_figures(float(sum(cell.key.encode())))
    with store.transaction():
        insert_fit(store, Fit(cell.fit_key, memory_limit, cell.fit_report))
        insert_cell(store, cell, make_evaluated(cell, users), values)
        if run_id is not None:
            insert_run_cell(store, run_id, cell.key)


def weights_of(key):
    return np.arange(6.0) + ord(key[0])


def keep_model(store, key, purpose="published", chain="chain"):
    """Write a model file and its row, and its fit if there is none."""
    path = write_model(store, key, {"weights": weights_of(key)}, {"key": key})
    with store.transaction():
        if find_fit(store, key) is None:
            insert_fit(store, Fit(key, None, {"reg": 5.0}))
        insert_model_file(store, key, purpose, chain, path)
    return path


def make_summary(dense, key="a", period=3, seed=0):
    rows = csr_array(np.asarray(dense, dtype=np.float32))
    record = SummaryRecord(
        key=key, first_period=period, period=period, seed=seed, settings={"regs": [1.0]},
        report={"loss": 0.5, "validation": None}, versions={"code": "x"}, num_rows=rows.shape[0],
        num_items=rows.shape[1], num_entries=rows.nnz, created=datetime(2026, 1, 2, 3, 4, 5),
    )  # fmt: skip
    return StoredSummary(record, rows)
