"""Live updates file by file give what a replay of all files gives, whatever happens between."""

import dataclasses
import shutil

import pytest
from live_chains import CHAINS, MODEL, REAL_CHAINS, TEACHER, published_arrays, summaries
from replays import figures_of

from perennial.memory.distill.loop import distill as real_distill
from perennial.models.registry import make_recipe
from perennial.replay.config import ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.live.ingest import LiveRequest, bring_up_to_date, take_files
from perennial.replay.live.setup import configure_live
from perennial.replay.live.updater import LiveUpdater
from perennial.replay.loop import run_replay
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.plan import make_chains
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.fits import read_model
from perennial.storage.results.publications import list_publications, newest_publication, read_live
from perennial.storage.results.runs import evaluated_periods, list_runs
from perennial.storage.results.summaries import list_summaries
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

pytestmark = pytest.mark.usefixtures("toy_chains")


def assert_one_by_one_is_a_replay(config, live, plain_folder, tmp_path):
    store = live(config, 5)
    shutil.copytree(plain_folder, tmp_path / "plain")
    with Store.open(tmp_path / "plain" / "live.duckdb") as whole:
        run_id = run_replay(whole, config)
        assert figures_of(store, read_live(store).run_id) == figures_of(whole, run_id)
        made = summaries(store)
        assert summaries(whole).items() <= made.items()
        (chain,) = make_chains(whole, config, read_versions())
        model, fit = chain.fit(chain.history(5), Stopwatch(Clock()), ignore_progress)
        assert fit.key == newest_publication(store).fit_key
        wanted = {key: value.tobytes() for key, value in chain.to_arrays(model)[0].items()}
        assert published_arrays(store) == wanted
    # And a replay in the live store has nothing to make.
    made = []
    run_replay(store, config, listener=made.append)
    assert [one for one in made if isinstance(one, CellFinished) and one.cell is not None] == []


@pytest.mark.parametrize("name", CHAINS)
def test_files_one_by_one_are_the_replay_of_them_all(name, live, plain_folder, tmp_path):
    assert_one_by_one_is_a_replay(CHAINS[name], live, plain_folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_CHAINS)
def test_real_models_and_memories_are_the_replay_too(
    name, live, plain_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("perennial.memory.distill_memory.distill", real_distill)
    assert_one_by_one_is_a_replay(REAL_CHAINS[name], live, plain_folder, tmp_path)


def test_what_a_replay_made_is_taken_over(live, period_files):
    store = live(CHAINS["individual"])
    list(take_files(store, period_files, LiveRequest(train=False)))
    run_id = run_replay(store, CHAINS["individual"])
    (done,) = bring_up_to_date(store, None)
    assert (done.period, done.evaluated) == (5, None)
    live_run = read_live(store).run_id
    assert figures_of(store, live_run) == figures_of(store, run_id)
    assert next(run for run in list_runs(store) if run.run_id == live_run).num_cells == 4


def test_files_are_taken_in_the_order_of_their_times(live, period_files):
    store = live(CHAINS["individual"])
    steps = list(take_files(store, period_files[2::-1], LiveRequest(train=False)))
    assert [step.paths[0].name for step in steps] == [path.name for path in period_files[:3]]


def test_a_lost_model_file_is_made_again(live, period_files):
    store = live(CHAINS["individual"], 2)
    shutil.rmtree(store.models_folder)
    list(take_files(store, [period_files[2]], LiveRequest()))
    assert evaluated_periods(store, read_live(store).run_id) == {2, 3}


def test_a_model_fitted_on_demand_takes_nobodys_place(live, period_files):
    store = live(CHAINS["individual"], 2)
    list(take_files(store, [period_files[2]], LiveRequest(train=False)))
    newest_model(store, make_strategy("individual"), make_recipe(MODEL.name, MODEL.settings), 0)
    assert read_model(store, newest_publication(store).fit_key) is not None


@pytest.mark.parametrize(
    "changed",
    [{"seeds": (1,)}, {"strategies": ("joint",)}, {"models": (TEACHER,)}],
    ids=["seed", "strategy", "model"],
)
def test_what_is_fixed_stays_unless_replaced(live, period_files, changed):
    store = live(CHAINS["individual"], 2)
    first = read_live(store)
    assert configure_live(store, CHAINS["individual"]) == first
    other = dataclasses.replace(CHAINS["individual"], **changed)
    with pytest.raises(UserError, match=r"is live with individual, popularity and seed 0 already"):
        configure_live(store, other)
    assert read_live(store) == first
    second = configure_live(store, other, replace=True)
    assert second.run_id != first.run_id
    assert list_publications(store) == ()


def test_one_of_each_is_fixed(live, tmp_path):
    with Store.open(tmp_path / "other.duckdb") as store:
        for what, config in (
            ("strategy", ReplayConfig(strategies=("joint", "individual"), models=(MODEL,))),
            ("model", ReplayConfig(strategies=("joint",))),
            ("seed", ReplayConfig(strategies=("joint",), models=(MODEL,), seeds=(0, 1))),
        ):
            with pytest.raises(UserError, match=f"one {what}, not 2"):
                configure_live(store, config)
        with pytest.raises(UserError, match="another model"):
            configure_live(store, ReplayConfig(strategies=("finetune",), models=(MODEL,)))
        with pytest.raises(UserError, match="perennial init"):
            LiveUpdater(store)


@pytest.mark.slow
def test_late_files_make_their_periods_anew(live, period_files, tmp_path):
    store = live(CHAINS["rolling"], 4)
    before = {one.period: one.key for one in list_summaries(store)}
    begin = list_periods(store)[1].first_time
    late = tmp_path / "late.csv"
    late.write_text(f"user,item,time\nsomeone,new,{begin / 1e6:.6f}\n")
    report, done = take_files(store, [late], LiveRequest(late="merge"))
    assert report.periods == (2,)
    assert (done.period, done.evaluated) == (4, None)
    after = {one.period: one.key for one in list_summaries(store)}
    assert [before[period] == after[period] for period in (1, 2, 3)] == [True, False, False]
