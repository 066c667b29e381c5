"""Fits that never saw some of the users are evaluated on these in every period."""

import dataclasses
import itertools

import killed_replay
import numpy as np
import pytest
from replays import figures_of, replay, split_last_day, undisturbed
from toys import Popularity, fill, record_fits

from perennial.models.base import FitOptions
from perennial.replay.config import ModelChoice
from perennial.replay.evaluate import evaluate
from perennial.replay.events import CellFinished, StageMessage
from perennial.replay.loop import run_replay
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import derive_seed
from perennial.storage.log.ingest import ingest_period
from perennial.storage.results.cells import read_cells, read_evaluated_users
from perennial.storage.results.runs import read_run
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers, History
from perennial.stream.next_period import ProtocolSettings, build_evaluation

POPULARITY = ModelChoice("popularity")
pytestmark = pytest.mark.usefixtures("with_toys")

HELD_OUT = HeldOutUsers(0.4, seed=1)
# One chain of separate fits, and one whose fits follow on one another with a memory.
CONFIG = dataclasses.replace(killed_replay.CONFIG, seeds=(0,), held_out=HELD_OUT)


@pytest.fixture(scope="module")
def wanted(toy_store_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "store.duckdb"
    return undisturbed(toy_store_file, path, CONFIG)


@pytest.fixture
def fits(monkeypatch):
    """Recipe, rows and options of each fit; the seed identifies chain and period."""
    return record_fits(monkeypatch, Popularity)


def test_no_fit_sees_them(store, fits):
    replay(store, dataclasses.replace(CONFIG, strategies=("individual",)))
    for period, (_, rows, _) in enumerate(fits, 1):
        everyone = History(store, period).rows(first=period)
        seen = everyone.interactions[~HELD_OUT.mask(everyone.users)]
        assert 0 < seen.shape[0] < everyone.interactions.shape[0]
        np.testing.assert_array_equal(rows.interactions.toarray(), seen.toarray())


def test_each_fit_is_made_once_and_evaluated_on_the_held_out_users_of_every_period(store, fits):
    run_id, made = replay(store, CONFIG)
    chains = list(itertools.product((1, 2, 3, 4), ("individual", "toy")))
    assert made == [
        (strategy, "popularity", 0, t, evaluated)
        for (t, strategy), evaluated in itertools.product(chains, (1, 2, 3, 4, 5))
    ]
    assert [options.seed for _, _, options in fits] == [
        derive_seed(0, t, strategy, "popularity") for t, strategy in chains
    ]
    run, cells = read_run(store, run_id), read_cells(store, run_id)
    assert (run.num_cells, len(cells), run.status) == (40, 40, "finished")
    assert len({cell.fit_key for cell in cells}) == 8
    timed = [(cell.eval_period, "fit" in cell.stages) for cell in cells]
    assert timed == [(evaluated, evaluated == 1) for evaluated in (1, 2, 3, 4, 5)] * 8
    judged = read_evaluated_users(store, run_id)
    assert len(judged) == 20, "once for both chains"
    for found in judged.values():
        assert len(found.users) > 0
        assert HELD_OUT.mask(found.users).all()
    assert replay(store, CONFIG)[1] == []
    assert len(fits) == 8


def test_a_cell_is_what_its_parts_give_by_hand(store):
    run_id, _ = replay(store, dataclasses.replace(CONFIG, models=(POPULARITY,)))
    (cell,) = [
        cell
        for cell in read_cells(store, run_id)
        if (cell.strategy, cell.fit_period, cell.eval_period) == ("individual", 3, 2)
    ]
    rows = make_strategy("individual").training_rows(History(store, 3, HELD_OUT), None)
    options = FitOptions(seed=derive_seed(0, 3, "individual", "popularity"))
    model = Popularity().fit(rows, options)
    evaluation = build_evaluation(store, 3, ProtocolSettings(), 0, eval_period=2, only=HELD_OUT)
    assert [figure.value for figure in cell.figures] == [
        result.values.mean for result in evaluate(model, evaluation)
    ]


def test_a_run_without_held_out_users_shares_no_fit(store):
    replay(store, CONFIG)
    run_id, made = replay(store, dataclasses.replace(CONFIG, held_out=None))
    assert len(made) == len(read_cells(store, run_id)) == 8
    assert store.rows("SELECT count(*) FROM fits") == [(16,)]
    kept = {path.name for path in store.models_folder.iterdir()}
    assert len(kept) == 4, "neither run clears away the models of the other's chains"


@pytest.mark.parametrize(
    ("kind", "count"), [(StageMessage, 1), (StageMessage, 4), (StageMessage, 20), (CellFinished, 7)]
)
def test_an_interrupted_run_resumes_to_the_same_figures(store, fits, wanted, kind, count):
    left = itertools.count(count, -1)

    def stop(event):
        if isinstance(event, kind) and next(left) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_replay(store, CONFIG, listener=stop)
    assert read_run(store).status == "interrupted"
    assert read_run(store).ended is not None
    done = figures_of(store, 1)
    assert len(done) % 5 == 0, "the cells of a fit are there together"
    begun = len(fits)
    run_id, made = replay(store, CONFIG)
    assert len(made) + len(done) == 40
    assert len(fits) - begun == 8 - len(done) // 5, "stored fits are not made again"
    assert done.items() <= wanted.items()
    assert figures_of(store, run_id) == wanted


def test_recorded_cells_are_not_computed_again(store, wanted):
    replay(store, CONFIG)
    store.connection.execute("DELETE FROM cells WHERE eval_period = 3 AND fit_period > 1")
    run_id, made = replay(store, CONFIG)
    assert [(t, evaluated) for *_, t, evaluated in made] == [(2, 3), (2, 3), (3, 3), (3, 3)] + [
        (4, 3)
    ] * 2
    assert figures_of(store, run_id) == wanted


def test_one_more_period_makes_only_its_cells(tmp_path, toy_log):
    early, last = split_last_day(toy_log, tmp_path)
    with Store.open(tmp_path / "grown.duckdb") as grown:
        before, _ = replay(fill(grown, early, num_periods=4), CONFIG)
        assert len(read_cells(grown, before)) == 2 * 3 * 4
        ingest_period(grown, last)
        after, made = replay(grown, CONFIG)
        assert sorted({(t, evaluated) for *_, t, evaluated in made}) == [
            *((t, 5) for t in (1, 2, 3)),
            *((4, evaluated) for evaluated in (1, 2, 3, 4, 5)),
        ]
        found = figures_of(grown, after)
    with Store.open(tmp_path / "whole.duckdb") as whole:
        run_id, _ = replay(fill(whole, toy_log), CONFIG)
        assert figures_of(whole, run_id) == found
