"""Cells, fits, models and summaries come back as they went in, whole or not at all."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_results import START, make_cell, make_evaluated, make_summary, record_cell, weights_of
from stored_results import keep_model as keep

from perennial.storage.errors import UserError
from perennial.storage.results.cells import (
    Figure,
    UserFigure,
    has_cell,
    insert_cell,
    read_cells,
    read_evaluated_users,
    read_user_figures,
)
from perennial.storage.results.fits import (
    Fit,
    find_fit,
    insert_fit,
    read_model,
    sweep_model_files,
    write_model,
)
from perennial.storage.results.publications import (
    LiveRecord,
    Publication,
    insert_publication,
    write_live,
)
from perennial.storage.results.runs import (
    DeletedResults,
    delete_run,
    end_run,
    insert_run_cell,
    list_runs,
    read_run,
    start_run,
)
from perennial.storage.results.summaries import (
    StoredSummary,
    find_summary,
    insert_summary,
    list_summaries,
)
from perennial.storage.store import Store


def new_run(store):
    return start_run(store, {"seeds": [1]}, {"jax": "0"}, 4, START)


def check_user_figures(store, run_id, expected):
    (figures,) = read_user_figures(store, run_id).values()
    for figure, wanted in zip(figures, expected, strict=True):
        assert (figure.metric, figure.k) == (wanted.metric, wanted.k)
        np.testing.assert_array_equal(figure.values, wanted.values)
        np.testing.assert_array_equal(figure.weights, wanted.weights)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_round_trip_of_any_number_of_users(store, size):
    rng = np.random.default_rng(size)
    drawn = [(rng.normal(scale=1e6, size=size), rng.random(size)) for _ in range(4)]
    values = [
        UserFigure("HR", k, one.astype(np.float32), other.astype(np.float32) if k % 2 else None)
        for k, (one, other) in enumerate(drawn)
    ]
    figures = tuple(Figure("HR", one.k, 1.0, size) for one in values)
    run_id = new_run(store)
    record_cell(store, make_cell(figures=figures), run_id, users=range(size), values=values)
    assert read_cells(store, run_id)[0].figures == figures
    (evaluated,) = read_evaluated_users(store, run_id).values()
    np.testing.assert_array_equal(evaluated.users, np.arange(size))
    check_user_figures(store, run_id, values)


def test_cells_stay_in_order_and_belong_to_several_runs(store):
    first = new_run(store)
    for key in "zamb":
        record_cell(store, make_cell(key), first)
    second = new_run(store)
    with store.transaction():
        insert_run_cell(store, second, "b")
    assert [cell.key for cell in read_cells(store, first)] == list("zamb")
    assert [cell.key for cell in read_cells(store, second)] == ["b"]
    assert list(read_user_figures(store, second)) == ["b"]


def test_the_same_key_again_replaces(store):
    run_id = new_run(store)
    record_cell(store, make_cell(), run_id)
    changed = make_cell(peak_rss_bytes=1)
    record_cell(store, changed, new_run(store))
    assert read_cells(store, run_id) == (changed,)
    assert len(read_user_figures(store, run_id)["cell"]) == 2


def test_a_cell_without_figures(store):
    run_id = new_run(store)
    with store.transaction():
        insert_fit(store, Fit("fit", None, {}))
        insert_cell(store, make_cell(figures=()), make_evaluated(make_cell(), ()), [])
        insert_run_cell(store, run_id, "cell")
    assert read_cells(store, run_id)[0].figures == ()
    assert read_evaluated_users(store, run_id)["evaluation"].users.shape == (0,)
    assert read_user_figures(store, run_id) == {}


def test_runs_are_numbered_and_end(store):
    first = new_run(store)
    end_run(store, first, "finished", START)
    second = new_run(store)
    assert (first, second) == (1, 2)
    assert [run.status for run in list_runs(store)] == ["finished", "running"]
    run = read_run(store, 1)
    assert (run.started, run.ended, run.config, run.num_cells) == (START, START, {"seeds": [1]}, 4)
    assert read_run(store).run_id == 2
    new_run(store)
    # One that a killed process left is closed.
    assert [run.status for run in list_runs(store)] == ["finished", "interrupted", "running"]


def files(store):
    return sorted(path.name for path in store.models_folder.iterdir())


def test_fits_round_trip_and_are_replaced(store):
    for fit in (Fit("key", 2**40, {"reg": 5.0}), Fit("key", None, {})):
        with store.transaction():
            insert_fit(store, fit)
        assert find_fit(store, "key") == fit
    assert find_fit(store, "other") is None


def test_model_round_trip(store):
    keep(store, "a")
    arrays, manifest = read_model(store, "a")
    np.testing.assert_array_equal(arrays["weights"], weights_of("a"))
    assert manifest == {"key": "a"}
    write_model(store, "b", arrays, {})
    assert read_model(store, "b") is None, "no row names it"


def test_the_newest_of_a_chain_is_kept_and_what_another_purpose_needs(store):
    keep(store, "a")
    keep(store, "b")
    keep(store, "c", chain="other")
    keep(store, "d", purpose="warm-start")
    sweep_model_files(store)
    assert read_model(store, "a") is None
    assert all(read_model(store, key) is not None for key in "bcd")
    assert len(files(store)) == 3
    keep(store, "a", purpose="warm-start")
    keep(store, "b")
    sweep_model_files(store)
    assert read_model(store, "a") is not None


def test_only_files_of_a_killed_process_are_removed(store):
    keep(store, "a")
    (store.models_folder / ".fit-b.safetensors.x1").write_bytes(b"half")
    (store.models_folder / "fit-b.safetensors").write_bytes(b"no row")
    (store.models_folder / "summary-1.safetensors").write_bytes(b"another's")
    sweep_model_files(store)
    assert files(store) == ["fit-a.safetensors", "summary-1.safetensors"]


def test_sweeping_without_a_folder(tmp_path):
    with Store.open(tmp_path / "store.duckdb") as store:
        sweep_model_files(store)
        assert not store.models_folder.exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_file_counts_as_lost(store, damage):
    path = keep(store, "a")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-5])
    if damage == "remove":
        path.unlink()
    assert read_model(store, "a") is None


@st.composite
def dense_summaries(draw):
    num_rows, num_items = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    dense = generator.random((num_rows, num_items)) * (
        generator.random((num_rows, num_items)) > 0.5
    )
    dense[np.arange(num_rows), generator.integers(0, num_items, num_rows)] = 1.0
    return dense.astype(np.float32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dense=dense_summaries())
def test_summary_round_trip(store, dense):
    summary = make_summary(dense, key=f"number {len(list_summaries(store))}")
    insert_summary(store, summary)
    found = find_summary(store, summary.record.key)
    assert found is not None
    assert found.record == summary.record
    np.testing.assert_array_equal(found.rows.toarray(), dense)
    assert found.rows.dtype == np.float32
    assert found.rows.has_canonical_format


def test_the_same_key_stays_as_it_is(store):
    insert_summary(store, make_summary([[1.0, 0.0]]))
    insert_summary(store, make_summary([[0.0, 0.5]]))
    np.testing.assert_array_equal(find_summary(store, "a").rows.toarray(), [[1.0, 0.0]])
    assert find_summary(store, "b") is None


def test_they_are_listed_by_period_and_seed(store):
    for key, period, seed in (("a", 2, 1), ("b", 1, 0), ("c", 2, 0)):
        insert_summary(store, make_summary([[1.0]], key, period, seed))
    assert [record.key for record in list_summaries(store)] == ["b", "c", "a"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE summary_entries SET weight = 2",
        "UPDATE summary_entries SET weight = 'nan'::FLOAT",
        "UPDATE summary_entries SET weight = 0",
        "UPDATE summary_entries SET item_index = 7",
        "UPDATE summary_entries SET item_index = -1",
        "DELETE FROM summary_entries WHERE row = 0",
        "UPDATE summary_entries SET row = 1, item_index = 0",
    ],
)
def test_a_damaged_summary_is_refused(store, damage):
    insert_summary(store, make_summary([[1.0, 0.0], [0.0, 0.5]]))
    store.connection.execute(damage)
    with pytest.raises(UserError, match="period 3 is damaged"):
        find_summary(store, "a")


def test_a_summary_that_cannot_be_written_leaves_nothing(store):
    broken = make_summary([[1.0]])
    record = dataclasses.replace(broken.record, report={"loss": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        insert_summary(store, StoredSummary(record, broken.rows))
    assert list_summaries(store) == ()
    assert store.rows("SELECT count(*) FROM summary_entries") == [(0,)]


class TestDeletedRun:
    """Two runs share the cell `both`; the first has `own` and `shown` too, whose fit is live."""

    @pytest.fixture
    def run_id(self, store):
        first, second = new_run(store), new_run(store)
        for key in ("own", "shown", "both"):
            keep(store, key, chain=key)
            record_cell(store, make_cell(key, fit_key=key, evaluation_key=key), first)
        with store.transaction():
            insert_run_cell(store, second, "both")
            insert_publication(store, Publication(5, "shown", {}, START))
        return first

    def test_what_only_it_used_goes(self, store, run_id):
        assert delete_run(store, run_id) == DeletedResults(cells=2, fits=1, models=1)
        assert [run.run_id for run in list_runs(store)] == [2]
        for table, column, kept in (
            ("cells", "cell_key", {"both"}),
            ("figures", "cell_key", {"both"}),
            ("evaluations", "evaluation_key", {"both"}),
            ("fits", "fit_key", {"both", "shown"}),
            ("model_files", "fit_key", {"both", "shown"}),
        ):
            assert {key for (key,) in store.rows(f"SELECT {column} FROM {table}")} == kept, table
        assert {path.stem for path in store.models_folder.iterdir()} == {"fit-both", "fit-shown"}
        assert [cell.key for cell in read_cells(store, 2)] == ["both"]

    def test_cells_that_no_run_has_yet_stay(self, store, run_id):
        record_cell(store, make_cell("to come", fit_key="own"))
        delete_run(store, run_id)
        assert find_fit(store, "own") is not None
        assert has_cell(store, "to come")

    def test_the_live_run_and_an_absent_one_are_refused(self, store, run_id):
        with store.transaction():
            write_live(store, LiveRecord({}, run_id))
        for number, words in ((run_id, "the run of the live model"), (7, "no run 7")):
            with pytest.raises(UserError, match=words):
                delete_run(store, number)
        assert len(read_cells(store, run_id)) == 3
