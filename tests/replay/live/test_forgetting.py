"""Periods and users that are forgotten: the model stays that of a log without them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from live_chains import CHAINS, FORGETFUL, MODEL, ROLLING, chain, published_arrays, summaries
from replays import figures_of

from perennial.replay.config import ReplayConfig
from perennial.replay.live.ingest import (
    DroppedPeriods,
    LiveRequest,
    bring_up_to_date,
    forget_users,
    take_files,
)
from perennial.replay.live.setup import configure_live
from perennial.replay.loop import run_replay
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.plan import make_chains
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.periods import fingerprint, first_retained_period, list_periods
from perennial.storage.log.rewrite import ErasedUser
from perennial.storage.results.cells import read_cells
from perennial.storage.results.publications import newest_publication, read_live
from perennial.storage.results.runs import evaluated_periods
from perennial.storage.results.summaries import list_summaries
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

SENTINEL = "sentinel-7c1e"
pytestmark = pytest.mark.usefixtures("toy_chains")


def of_the_period(config):
    """The configuration, with fits on period t's interactions alone."""
    settings = {
        name: {**values, "history": "period"} for name, values in config.strategy_settings.items()
    }
    return dataclasses.replace(config, strategy_settings=settings)


class TestForgettingTheLog:
    """Old interactions are dropped; what was remembered of them stays."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["individual", "finetune", "rolling", "ader", "warm ader"])
    def test_fits_are_those_of_the_whole_log(self, name, live, period_files):
        # Full histories reach only as far as the store holds them.
        config = of_the_period(CHAINS[name])
        kept, whole = live(config), live(config, 5, "whole")
        steps = [step for path in period_files for step in take_files(kept, [path], FORGETFUL)]
        assert [step.last for step in steps if isinstance(step, DroppedPeriods)] == [1, 2, 3, 4]
        assert first_retained_period(kept) == 5
        assert summaries(kept) == summaries(whole)
        assert published_arrays(kept) == published_arrays(whole)
        # Contexts know less, so that figures differ.
        assert evaluated_periods(kept, read_live(kept).run_id) == {2, 3, 4, 5}

    def test_histories_give_the_rows_and_contexts_of_the_whole_log(self, live, period_files):
        config = chain("active", MODEL)
        kept, whole = live(config), live(config, 5, "whole")
        configure_live(kept, config, forget_log_after=1, keep_histories=99, replace=True)
        for path in period_files:
            list(take_files(kept, [path], LiveRequest()))
        assert first_retained_period(kept) == 5
        assert published_arrays(kept) == published_arrays(whole)
        made = [figures_of(one, read_live(one).run_id) for one in (kept, whole)]
        found, wanted = ({name: cell[1:4] for name, cell in one.items()} for one in made)
        assert found == wanted
        with pytest.raises(UserError, match="only from period 5 on"):
            run_replay(kept, config)

    @pytest.mark.parametrize(
        ("name", "policy"), [("joint", ""), ("whole", " --memory-policy rolling")]
    )
    def test_strategies_that_read_it_again_refuse(self, name, policy, live, period_files):
        store = live(CHAINS[name])
        refusal = f"needs the whole log.*--strategy distill-cf{policy}`"
        with pytest.raises(UserError, match=refusal):
            list(take_files(store, period_files[:1], LiveRequest(forget_log_after=2)))
        with pytest.raises(UserError, match=refusal):
            configure_live(store, CHAINS[name], forget_log_after=2, replace=True)
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

    @pytest.mark.slow
    def test_other_settings_go_on_with_the_summaries_that_are_there(self, live, period_files):
        store = live(CHAINS["rolling"], 3, request=FORGETFUL)
        config = dataclasses.replace(
            CHAINS["rolling"], strategy_settings={"distill-cf": {**ROLLING, "budget": 3}}
        )
        configure_live(store, config, replace=True)
        for path in period_files[3:5]:
            list(take_files(store, [path], FORGETFUL))
        made = [one for one in list_summaries(store) if one.settings["num_synthetic_users"] == 3]
        assert [(one.period, one.first_period, one.num_rows) for one in made] == [
            (3, 1, 3),
            (4, 1, 3),
        ]


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
        erased, *_ = forget_users(store, [user])
        assert isinstance(erased, ErasedUser)
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
        files = sentinel_files(tmp_path)
        store = live(CHAINS["rolling"])
        list(take_files(store, files[:3], LiveRequest()))
        run_replay(store, CHAINS["individual"])
        (store.models_folder / "distill-left.safetensors").write_text(SENTINEL)
        study = store.path.with_name(store.path.name + ".study")
        study.mkdir()
        (study / "task.duckdb").write_text(SENTINEL)
        for path in files:
            path.unlink()
        list(forget_users(store, [SENTINEL]))
        store.close()
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert left
        for path in left:
            assert SENTINEL.encode() not in path.read_bytes(), path

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
        files = sentinel_files(tmp_path)
        store = live(CHAINS["rolling"])
        list(take_files(store, files, FORGETFUL))
        assert [one.period for one in list_summaries(store)] == [1, 2, 3]
        erased, *_ = forget_users(store, [SENTINEL])
        assert (erased.first_period, erased.lost_periods) == (1, (1, 2, 3))
        assert list_summaries(store) == ()
        assert newest_publication(store).period == 4
        list(take_files(store, [extra_file(tmp_path)], FORGETFUL))
        assert [(one.first_period, one.period) for one in list_summaries(store)] == [(4, 4)]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["finetune", "ader", "warm ader"])
    def test_what_followed_the_dropped_log_begins_anew(self, name, live, tmp_path):
        files = sentinel_files(tmp_path)
        store = live(CHAINS[name])
        list(take_files(store, files, LiveRequest(forget_log_after=2)))
        list(forget_users(store, [SENTINEL]))
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


def sentinel_files(folder: Path) -> list[Path]:
    """Four period files with someone in all of them."""
    rng = np.random.default_rng(0)
    files = []
    for period in range(4):
        users = [SENTINEL, *(f"u{number}" for number in range(6))]
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
