"""Results of another copy of a store are merged completely, once, or not at all."""

import dataclasses
from contextlib import ExitStack

import duckdb
import numpy as np
import pytest
from stored_results import START, make_cell, make_summary, weights_of
from stored_results import keep_model as keep
from stored_results import record_cell as record

from perennial.storage.results import merge
from perennial.storage.results.cells import read_cells, read_evaluated_users, read_user_figures
from perennial.storage.results.fits import Fit, find_fit, insert_fit, read_model, sweep_model_files
from perennial.storage.results.merge import merge_results
from perennial.storage.results.runs import insert_run_cell, start_run
from perennial.storage.results.summaries import find_summary, insert_summary
from perennial.storage.store import Store

TABLES = (
    *("fits", "model_files", "evaluations", "cells", "figures"),
    *("summaries", "summary_entries", "runs", "run_cells"),
)
DENSE = [[1.0, 0.0, 0.25], [0.0, 0.5, 1.0]]
TWO = make_cell("two", fit_key="b", evaluation_key="later", fit_period=5, eval_period=6)


@pytest.fixture
def other():
    with Store.open(":memory:") as opened:
        yield opened


def enter_fit(store, key, memory_limit=None):
    with store.transaction():
        insert_fit(store, Fit(key, memory_limit, {"reg": 5.0}))


def content(store):
    """Return everything that a merge could change."""
    found = {name: store.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in TABLES}
    folder = store.models_folder
    files = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}
    return found | {"files": files}


def fill(store):
    record(store, make_cell("one"))
    record(store, TWO, memory_limit=10)
    keep(store, "b")
    insert_summary(store, make_summary(DENSE, "summary"))


def linked(store, *keys):
    """The cells of these keys as a run has them: with figures, by user, and who was evaluated."""
    run_id = start_run(store, {}, {}, len(keys), START)
    for key in keys:
        with store.transaction():
            insert_run_cell(store, run_id, key)
    by_user = {
        key: [(one.metric, one.k, one.values.tolist(), repr(one.weights)) for one in figures]
        for key, figures in read_user_figures(store, run_id).items()
    }
    evaluated = {
        key: dataclasses.replace(found, users=found.users.tolist())
        for key, found in read_evaluated_users(store, run_id).items()
    }
    return read_cells(store, run_id), by_user, evaluated


def test_everything_is_merged_once_and_runs_stay(store, other):
    fill(other)
    wanted = content(other)
    assert merge_results(store, other) == 2
    assert content(store) == content(other) == wanted
    assert merge_results(store, other) == 0, "a second time"
    with Store.open(":memory:") as empty:
        assert merge_results(store, empty) == 0
    assert content(store) == wanted
    cells, by_user, evaluated = linked(store, "one", "two")
    assert cells == (make_cell("one"), TWO)
    assert (cells, by_user, evaluated) == linked(other, "one", "two")
    assert len(by_user["two"]) == 2
    assert evaluated["evaluation"].users == [4, 9, 2], "in their order, which that of the values is"
    assert find_fit(store, "b") == Fit("b", 10, TWO.fit_report)
    summary = find_summary(store, "summary")
    assert summary.record == make_summary(DENSE, "summary").record
    np.testing.assert_array_equal(summary.rows.toarray(), DENSE)
    arrays, manifest = read_model(store, "b")
    np.testing.assert_array_equal(arrays["weights"], weights_of("b"))
    assert manifest == {"key": "b"}
    with Store.open(":memory:") as third:
        assert merge_results(third, other) == 2
        assert third.rows("SELECT count(*) FROM runs") == [(0,)]
        assert third.rows("SELECT count(*) FROM run_cells") == [(0,)]


def test_common_results_are_stored_once(store, other):
    for one in (store, other):
        record(one, make_cell("both"))
        insert_summary(one, make_summary([[1.0]], "both"))
    record(store, make_cell("mine", fit_key="f"))
    record(other, make_cell("theirs"))  # of the fit and the evaluation that both have
    insert_summary(other, make_summary([[0.5]], "theirs"))
    assert merge_results(store, other) == 1
    found = content(store)
    assert [row[0] for row in found["cells"]] == ["both", "mine", "theirs"]
    assert len(found["figures"]) == 6
    assert [row[0] for row in found["fits"]] == ["f", "fit"]
    assert len(found["evaluations"]) == 1
    assert [row[0] for row in found["summaries"]] == ["both", "theirs"]
    assert len(found["summary_entries"]) == 2


def test_parts_in_any_order_make_the_same():
    with ExitStack() as opened:
        parts = []
        for keys in ("ab", "bcd", "ad", ""):
            parts.append(opened.enter_context(Store.open(":memory:")))
            for key in keys:
                record(parts[-1], make_cell(key, fit_key=f"fit {key}", evaluation_key=f"of {key}"))
        contents = []
        for order in (parts, parts[::-1], [*parts[1:], *parts]):
            store = opened.enter_context(Store.open(":memory:"))
            assert sum(merge_results(store, part) for part in order) == 4
            contents.append(content(store))
    assert len(contents[0]["cells"]) == 4
    assert contents[1:] == contents[:1] * 2


@pytest.mark.parametrize(
    ("mine", "theirs", "kept"),
    [(None, None, None), (None, 5, 5), (7, 5, 5), (5, 7, 5), (5, 5, 5), (5, None, 5)],
)
def test_the_smaller_memory_limit_counts(store, other, mine, theirs, kept):
    enter_fit(store, "fit", mine)
    enter_fit(other, "fit", theirs)
    enter_fit(store, "another", 9)
    merge_results(store, other)
    assert find_fit(store, "fit") == Fit("fit", kept, {"reg": 5.0})
    assert find_fit(store, "another").memory_limit == 9
    assert find_fit(other, "fit").memory_limit == theirs


class TestModelFiles:
    def test_the_model_of_a_newer_fit_replaces_that_of_its_chain(self, store, other):
        for one in (store, other):
            keep(one, "a")
        keep(store, "z", chain="mine alone")
        keep(other, "b")
        merge_results(store, other)
        sweep_model_files(store)
        assert read_model(store, "a") is None
        assert read_model(store, "b")[1] == {"key": "b"}
        assert read_model(store, "z")[1] == {"key": "z"}
        assert len(list(store.models_folder.iterdir())) == 2

    def test_a_continued_chain_keeps_its_own_file(self, store, other):
        for one in (store, other):
            keep(one, "a")
        keep(store, "b")
        merge_results(store, other)
        assert read_model(store, "b")[1] == {"key": "b"}
        assert store.rows("SELECT fit_key FROM model_files") == [("b",)]

    def test_files_of_every_purpose_are_merged(self, store, other):
        keep(other, "a")
        keep(other, "a", purpose="warm-start")
        merge_results(store, other)
        assert content(store)["model_files"] == content(other)["model_files"]
        assert len(content(store)["model_files"]) == 2

    def test_a_lost_file_is_left_out(self, store, other):
        keep(store, "a")
        enter_fit(other, "a")
        keep(other, "b").unlink()
        keep(other, "c", chain="another")
        merge_results(store, other)
        assert find_fit(store, "b") is not None
        assert read_model(store, "a") is not None, "the chain still has what it had"
        assert read_model(store, "c") is not None

    def test_the_folder_is_made_where_there_is_none(self, tmp_path, other):
        keep(other, "a")
        with Store.open(tmp_path / "store.duckdb") as store:
            assert not store.models_folder.exists()
            merge_results(store, other)
            assert read_model(store, "a") is not None


@pytest.mark.parametrize("table", ["figures", "summary_entries", "model_files"])
def test_a_failed_merge_changes_nothing(store, other, table):
    record(store, make_cell("mine", fit_key="f"))
    enter_fit(store, "fit", 100)
    fill(other)
    wanted = content(store)
    other.connection.execute(f"DROP TABLE {table}")
    with pytest.raises(duckdb.CatalogException):
        merge_results(store, other)
    assert content(store) == wanted


def test_an_interrupt_at_the_end_leaves_no_rows(store, other, monkeypatch):
    def interrupt(store, other):
        assert len(content(store)["cells"]) == 2
        raise KeyboardInterrupt

    fill(other)
    wanted = content(store)
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_lower_memory_limits", interrupt)
        with pytest.raises(KeyboardInterrupt):
            merge_results(store, other)
    # A file may lie there, but no row names it.
    sweep_model_files(store)
    assert content(store) == wanted
    assert merge_results(store, other) == 2
    assert content(store) == content(other)
