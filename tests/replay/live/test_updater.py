"""Live updates file by file give what a replay of all files gives, whatever happens between."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from toys import distill, fill, register_plugins

from perennial.memory.distill.loop import distill as real_distill
from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.live.ingest import (
    DroppedPeriods,
    LiveRequest,
    bring_up_to_date,
    forget_users,
    take_files,
)
from perennial.replay.live.setup import configure_live
from perennial.replay.live.updater import LiveUpdater
from perennial.replay.loop import run_replay
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.plan import make_chains
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.errors import UserError
from perennial.storage.log.export import export_periods
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.periods import fingerprint, first_retained_period, list_periods
from perennial.storage.log.rewrite import ErasedUser
from perennial.storage.progress import ignore_progress
from perennial.storage.results.cells import read_cells, read_user_figures
from perennial.storage.results.fits import read_model
from perennial.storage.results.publications import list_publications, newest_publication, read_live
from perennial.storage.results.runs import evaluated_periods, list_runs
from perennial.storage.results.summaries import list_summaries
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

MODEL = ModelChoice("popularity")
TEACHER = ModelChoice("teacher")
DISTILLATION = {"budget": 4, "distillation": {"num_steps": 2, "batch_size": 8}}
ROLLING = {**DISTILLATION, "policy": "rolling"}


def chain(strategy, model, **settings):
    return ReplayConfig(
        strategies=(strategy,),
        strategy_settings={strategy: settings} if settings else {},
        models=(model,),
    )


CHAINS = {
    "individual": chain("individual", MODEL),
    "joint": chain("joint", MODEL),
    "finetune": chain("finetune", ModelChoice("popularity", {"warm": True})),
    "whole": chain("distill-cf", MODEL, **DISTILLATION),
    "rolling": chain("distill-cf", MODEL, **ROLLING),
    "ader": chain("ader", TEACHER, budget=5),
    "warm ader": chain("ader", ModelChoice("teacher", {"warm": True}), budget=5),
}
REAL_CHAINS = {
    "infinite-ae": chain(
        "distill-cf", ModelChoice("infinite-ae", {"regs": [1.0, 20.0]}), **ROLLING
    ),
    "mvae": chain(
        "ader",
        ModelChoice("mvae", {"hidden": 6, "latent": 3, "max_updates": 10, "check_every": 5}),
        budget=5,
    ),
}


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    """The models, and a distillation, that take no time."""
    register_plugins(monkeypatch)
    monkeypatch.setattr("perennial.memory.distill_memory.distill", distill)


@pytest.fixture(scope="module")
def period_files(tmp_path_factory, toy_log):
    """The toy log as five files."""
    folder = tmp_path_factory.mktemp("periods")
    with Store.open(folder / "cut.duckdb") as store:
        fill(store, toy_log)
        return tuple(one.path for one in export_periods(store, folder / "files"))


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory, period_files):
    """A store that took the files without a live model."""
    folder = tmp_path_factory.mktemp("plain")
    with Store.open(folder / "live.duckdb") as store:
        list(take_files(store, period_files, LiveRequest()))
    return folder


@pytest.fixture(scope="module")
def live_folder(tmp_path_factory, period_files):
    """Make a live store that took its first files one by one; made once for each request."""
    made = {}

    def make(config, num_files, request):
        key = repr((config, num_files, request))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("live")
            with Store.open(made[key] / "live.duckdb") as store:
                configure_live(store, config)
            for path in period_files[:num_files]:
                # Nothing but the store is kept from night to night.
                with Store.open(made[key] / "live.duckdb") as store:
                    list(take_files(store, [path], request))
        return made[key]

    return make


@pytest.fixture
def live(tmp_path, live_folder):
    """Open a live store of one's own that took some files."""
    opened = []

    def make(config, num_files=0, name="live", request=LiveRequest()):  # noqa: B008 - immutable
        folder = tmp_path / name
        shutil.copytree(live_folder(config, num_files, request), folder)
        opened.append(Store.open(folder / "live.duckdb"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


FORGETFUL = LiveRequest(forget_log_after=1)


def figures(store, run_id):
    """All figures, user by user."""
    cells = {cell.key: cell for cell in read_cells(store, run_id)}
    return {
        (cells[key].eval_period, one.metric, one.k): one.values.tobytes()
        for key, values in read_user_figures(store, run_id).items()
        for one in values
    }


def summaries(store):
    """Distilled rows, to the bit."""
    entries = store.rows("SELECT * FROM summary_entries ORDER BY ALL")
    return {one.key: [row for row in entries if row[0] == one.key] for one in list_summaries(store)}


def published_arrays(store):
    arrays, _ = read_model(store, newest_publication(store).fit_key)
    return {name: values.tobytes() for name, values in arrays.items()}


def assert_one_by_one_is_a_replay(config, live, plain_folder, tmp_path):
    """Compare a live store that took one file each night with a replay of all files."""
    store = live(config, 5)
    shutil.copytree(plain_folder, tmp_path / "plain")
    with Store.open(tmp_path / "plain" / "live.duckdb") as whole:
        run_id = run_replay(whole, config)
        assert figures(store, read_live(store).run_id) == figures(whole, run_id)
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


def test_what_was_left_out_is_caught_up_with(live, period_files):
    store = live(CHAINS["individual"])
    request = LiveRequest(train=False)
    steps = list(take_files(store, period_files[:3], request))
    assert [type(step) for step in steps] == [IngestReport] * 3
    assert newest_publication(store) is None
    done = list(bring_up_to_date(store, None))
    assert [(one.period, one.evaluated is None, one.publication is None) for one in done] == [
        (1, True, False),
        (2, False, False),
        (3, False, False),
    ]
    assert list(bring_up_to_date(store, None)) == []
    steps = list(take_files(store, [period_files[3]], LiveRequest()))
    assert [type(step).__name__ for step in steps] == ["IngestReport", "PeriodPublished"]
    assert evaluated_periods(store, read_live(store).run_id) == {2, 3, 4}


def test_what_a_replay_made_is_taken_over(live, period_files):
    store = live(CHAINS["individual"])
    list(take_files(store, period_files, LiveRequest(train=False)))
    run_id = run_replay(store, CHAINS["individual"])
    (done,) = bring_up_to_date(store, None)
    assert (done.period, done.evaluated) == (5, None)
    live_run = read_live(store).run_id
    assert figures(store, live_run) == figures(store, run_id)
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


class TestForgettingTheLog:
    """Old interactions are dropped; what was remembered of them stays."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["individual", "finetune", "rolling", "ader", "warm ader"])
    def test_fits_are_those_of_the_whole_log(self, name, live, period_files):
        kept, whole = live(CHAINS[name]), live(CHAINS[name], 5, "whole")
        steps = [step for path in period_files for step in take_files(kept, [path], FORGETFUL)]
        assert [step.last for step in steps if isinstance(step, DroppedPeriods)] == [1, 2, 3, 4]
        assert first_retained_period(kept) == 5
        assert summaries(kept) == summaries(whole)
        assert published_arrays(kept) == published_arrays(whole)
        # Contexts know less, so that figures differ.
        assert evaluated_periods(kept, read_live(kept).run_id) == {2, 3, 4, 5}

    @pytest.mark.parametrize("name", ["joint", "whole"])
    def test_strategies_that_read_it_again_refuse(self, name, live, period_files):
        store = live(CHAINS[name])
        with pytest.raises(UserError, match=r"needs the whole log.*rolling"):
            list(take_files(store, period_files[:1], LiveRequest(forget_log_after=2)))
        assert list_periods(store) == ()

    def test_nothing_is_dropped_that_nobody_remembers(self, live, period_files, tmp_path):
        with Store.open(tmp_path / "plain.duckdb") as store:
            with pytest.raises(UserError, match="perennial init"):
                list(take_files(store, period_files[:1], LiveRequest(forget_log_after=2)))
            request = LiveRequest(train=False, forget_log_after=2)
            with pytest.raises(UserError, match="do not go together"):
                list(take_files(store, period_files[:1], request))

    def test_a_strategy_that_needs_what_is_gone_is_not_fixed(self, live, period_files):
        store = live(CHAINS["individual"], 4, request=FORGETFUL)
        for name in ("joint", "whole"):
            with pytest.raises(UserError, match=r"needs the whole log.*only from period 4"):
                configure_live(store, CHAINS[name], replace=True)

    def test_a_chain_that_begins_anew_is_called_so(self, live, period_files):
        store = live(CHAINS["finetune"])
        request = FORGETFUL
        list(take_files(store, period_files[:3], request))
        warm = newest_publication(store).fit_key
        for path in store.models_folder.iterdir():
            path.unlink()
        list(take_files(store, [period_files[3]], LiveRequest(train=False)))
        list(bring_up_to_date(store, None))
        # A chain that knows nothing of what was published, and begins where the log does now.
        (chain,) = make_chains(store, CHAINS["finetune"], read_versions())
        assert chain.recorded_fit(3) not in (None, warm)
        assert chain.recorded_fit(4) == newest_publication(store).fit_key

    def test_another_configuration_begins_with_what_is_held(self, live, period_files):
        store = live(CHAINS["individual"], 4, request=FORGETFUL)
        configure_live(store, dataclasses.replace(CHAINS["individual"], seeds=(1,)), replace=True)
        (done,) = bring_up_to_date(store, None)
        assert (done.period, done.evaluated) == (4, None)
        list(take_files(store, [period_files[4]], FORGETFUL))
        assert evaluated_periods(store, read_live(store).run_id) == {5}

    def test_other_strategies_say_what_they_miss(self, live, period_files):
        store = live(CHAINS["individual"])
        list(take_files(store, period_files, LiveRequest(forget_log_after=2)))
        with pytest.raises(UserError, match="holds interactions only from period 4"):
            run_replay(store, ReplayConfig(strategies=("joint",), models=(MODEL,)))

    @pytest.mark.slow
    def test_other_code_goes_on_with_the_summaries_that_are_there(
        self, live, period_files, monkeypatch
    ):
        import perennial.memory.distill_memory
        import perennial.replay.live.updater

        store = live(CHAINS["rolling"], 3, request=FORGETFUL)
        before = summaries(store)
        newer = {**read_versions(), "code": "of an upgrade"}
        for module in (perennial.memory.distill_memory, perennial.replay.live.updater):
            monkeypatch.setattr(module, "read_versions", lambda: newer)
        list(take_files(store, [period_files[3]], FORGETFUL))
        made = [one for one in list_summaries(store) if one.key not in before]
        assert [(one.period, one.first_period) for one in made] == [(3, 1)]


class TestForgettingAUser:
    """A user is erased from the log and from all that was made of it."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["individual", "whole", "rolling", "ader", "finetune"])
    def test_the_model_is_that_of_a_log_without_them(self, name, live, period_files, tmp_path):
        store = live(CHAINS[name], 5)
        user = store.rows(
            "SELECT id FROM users JOIN interactions USING (user_index) "
            "GROUP BY id ORDER BY count(*) DESC, id LIMIT 1"
        )[0][0]
        judged = evaluated_periods(store, read_live(store).run_id)
        steps = list(forget_users(store, [user]))
        assert isinstance(steps[0], ErasedUser)
        assert evaluated_periods(store, read_live(store).run_id) == judged
        with Store.open(tmp_path / "other.duckdb") as other:
            list(take_files(other, without(user, period_files, tmp_path), LiveRequest()))
            assert fingerprint(other, 5) == fingerprint(store, 5)
            (chain,) = make_chains(other, CHAINS[name], read_versions())
            model, _ = chain.fit(chain.history(5), Stopwatch(Clock()), ignore_progress)
            wanted = {key: value.tobytes() for key, value in chain.to_arrays(model)[0].items()}
        assert published_arrays(store) == wanted

    @pytest.mark.slow
    def test_no_byte_is_left(self, live, tmp_path):
        sentinel = "sentinel-7c1e"
        files = sentinel_files(tmp_path, sentinel)
        store = live(CHAINS["rolling"])
        list(take_files(store, files[:3], LiveRequest()))
        run_replay(store, CHAINS["individual"])
        (store.models_folder / "distill-left.safetensors").write_text(sentinel)
        study = store.path.with_name(store.path.name + ".study")
        study.mkdir()
        (study / "task.duckdb").write_text(sentinel)
        for path in files:
            path.unlink()
        list(forget_users(store, [sentinel]))
        store.close()
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert left
        for path in left:
            assert sentinel.encode() not in path.read_bytes(), path

    def test_figures_stay_without_their_part(self, live, period_files):
        store = live(CHAINS["individual"], 5)
        run_id = read_live(store).run_id
        before = {
            (cell.eval_period, one.metric, one.k): one
            for cell in read_cells(store, run_id)
            for one in cell.figures
        }
        judged = store.rows("SELECT users FROM evaluations ORDER BY eval_period")
        index = judged[-1][0][0]
        user = store.rows("SELECT id FROM users WHERE user_index = ?", [index])[0][0]
        list(forget_users(store, [user]))
        for cell in read_cells(store, run_id):
            for one in cell.figures:
                was = before[cell.eval_period, one.metric, one.k]
                gone = index in judged[cell.eval_period - 2][0]
                assert one.num_users == was.num_users - gone
                if not gone:
                    assert one.value == was.value
        ids = {name for (name,) in store.rows("SELECT id FROM users")}
        assert user not in ids

    @pytest.mark.slow
    def test_what_cannot_be_made_again_is_deleted_and_told(self, live, tmp_path):
        sentinel = "sentinel-7c1e"
        files = sentinel_files(tmp_path, sentinel)
        store = live(CHAINS["rolling"])
        list(take_files(store, files, FORGETFUL))
        assert [one.period for one in list_summaries(store)] == [1, 2, 3]
        erased, *_ = forget_users(store, [sentinel])
        assert (erased.first_period, erased.lost_periods) == (1, (1, 2, 3))
        assert list_summaries(store) == ()
        assert newest_publication(store).period == 4
        list(take_files(store, [extra_file(tmp_path)], FORGETFUL))
        assert [(one.first_period, one.period) for one in list_summaries(store)] == [(4, 4)]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["finetune", "ader", "warm ader"])
    def test_what_followed_the_dropped_log_begins_anew(self, name, live, tmp_path):
        sentinel = "sentinel-7c1e"
        files = sentinel_files(tmp_path, sentinel)
        store = live(CHAINS[name])
        list(take_files(store, files, LiveRequest(forget_log_after=2)))
        list(forget_users(store, [sentinel]))
        assert newest_publication(store).period == 4
        assert list(bring_up_to_date(store, 2)) == []
        extra = extra_file(tmp_path)
        *_, done, dropped = take_files(store, [extra], LiveRequest(forget_log_after=2))
        assert done.evaluated is not None
        assert (done.publication.period, dropped.last) == (5, 3)

    def test_nobody_is_named_at_once(self, live, period_files):
        store = live(CHAINS["individual"], 2)
        known = store.rows("SELECT id FROM users LIMIT 1")[0][0]
        with pytest.raises(UserError, match="'nobody' is not in"):
            list(forget_users(store, [known, "nobody"]))
        assert store.rows("SELECT count(*) FROM users WHERE id = ?", [known]) == [(1,)]


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


def without(user, files, folder):
    """Copies of the files without a user's lines."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    made = []
    for path in files:
        table = pq.read_table(path)
        column = pc.cast(table["user_id"], "string")
        made.append(folder / f"without-{path.name}")
        pq.write_table(table.filter(pc.not_equal(column, user)), made[-1])
    return made


def sentinel_files(folder: Path, sentinel: str) -> list[Path]:
    """Four period files with someone in all of them."""
    rng = np.random.default_rng(0)
    files = []
    for period in range(4):
        users = [sentinel, *(f"u{number}" for number in range(6))]
        lines = [
            f"{user},i{rng.integers(12)},{1000 * period + rng.integers(900)}\n"
            for user in users
            for _ in range(5)
        ]
        files.append(folder / f"sentinel-{period}.csv")
        files[-1].write_text("user,item,time\n" + "".join(lines))
    return files


def extra_file(folder: Path) -> Path:
    path = folder / "extra.csv"
    path.write_text("user,item,time\nu1,i1,9000\nu2,i3,9001\nu2,i4,9002\n")
    return path
