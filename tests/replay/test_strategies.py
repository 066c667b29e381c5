"""The strategies through the period loop: rows, warm starts, memories, resumed runs."""

import dataclasses

import numpy as np
import pytest
from replays import figures_of
from toys import fill, interrupt_after, record_fits, write_log

from perennial.memory.distill.settings import DistillSettings
from perennial.memory.exemplar_memory import ExemplarMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import FitOptions
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.teacher_model import TaughtInfiniteAE
from perennial.models.mvae.recipe import MVAE, FittedMVAE
from perennial.models.registry import make_recipe
from perennial.replay.analysis.run import load_run
from perennial.replay.config import ModelChoice, ReplayConfig, choose_strategies
from perennial.replay.events import CellFinished, StageMessage
from perennial.replay.loop import run_replay
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.strategies.ader import Ader, adaptive_weight
from perennial.replay.strategies.base import WarmStart
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import sparse_bytes
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.results.artifacts import load_arrays
from perennial.storage.results.cells import read_cells
from perennial.storage.results.runs import list_runs
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store
from perennial.stream.history import History

pytestmark = pytest.mark.usefixtures("with_toys")

SMALL_MVAE = {"hidden": 8, "latent": 4, "max_updates": 4, "check_every": 2}
MODEL_SETTINGS = {"infinite-ae": {"regs": (1.0, 20.0)}, "mvae": {**SMALL_MVAE, "batch_size": 8}}
VERSIONS = {"code": "toys"}


def config_of(*models, settings=None, strategies=("ader",), **changes):
    return ReplayConfig(
        strategies=strategies,
        models=tuple(ModelChoice(name, MODEL_SETTINGS[name]) for name in models),
        strategy_settings={"ader": {"budget": 10, **(settings or {})}},
        **changes,
    )


def reports(store, run_id, name):
    return [cell.fit_report.get(name) for cell in read_cells(store, run_id)]


def check_resume(store, config, listener):
    """Interrupt a replay and resume it; return the events of the second run."""
    with pytest.raises(KeyboardInterrupt):
        run_replay(store, config, listener=listener)
    events = []
    resumed = run_replay(store, config, listener=events.append)
    fresh = run_replay(store, config, fresh=True)
    assert figures_of(store, resumed) == figures_of(store, fresh)
    return events


def count_linked(events):
    return sum(isinstance(event, CellFinished) and event.cell is None for event in events)


@pytest.mark.parametrize(
    ("base", "old_items", "items", "num_exemplars", "num_rows", "weight"),
    [
        (1.0, 100, 400, 25, 100, 0.25),  # √(1/4 · 1/4)
        (0.8, 100, 400, 25, 100, 0.2),
        (0.8, 90, 90, 50, 50, 0.8),
        (1.0, 50, 100, 200, 100, 1.0),  # more exemplars than rows
        (2.0, 81, 100, 1, 4, 0.9),  # 2 · 0.9 · 0.5
    ],
)
def test_the_adaptive_weight_by_hand(base, old_items, items, num_exemplars, num_rows, weight):
    found = adaptive_weight(
        base, old_items=old_items, items=items, num_exemplars=num_exemplars, num_rows=num_rows
    )
    assert found == pytest.approx(weight)


def learnt(store, periods, budget=10):
    """The memory after some periods, taught by an ∞-AE at each."""
    memory = ExemplarMemory(budget)
    for period in range(1, periods + 1):
        rows = Ader(budget).training_rows(History(store, period), memory)
        model = InfiniteAE(reg=5.0).fit(rows, FitOptions(seed=0))
        memory = memory.update(History(store, period), model, 0)
    return memory


def own_rows(history, extent):
    """Rows of the users of period t as a strategy with this `history` trains on them."""
    period = history.rows(first=history.period)
    past = history.rows(first=1)
    chosen = past.interactions[np.isin(past.users, period.users)]
    return (chosen if extent == "full" else period.interactions).toarray()


@pytest.mark.parametrize("name", ["active", "ader", "distill-cf", "distill-ader", "finetune"])
@pytest.mark.parametrize("extent", ["full", "period"])
def test_the_users_of_the_period_have_the_history_that_is_set(store, name, extent):
    if name == "active" and extent == "period":
        name = "individual"
    strategy = make_strategy(name, {} if name in ("active", "individual") else {"history": extent})
    history = History(store, 4)
    rows = strategy.training_rows(history, strategy.empty_memory())
    np.testing.assert_array_equal(rows.interactions.toarray(), own_rows(history, extent))
    assert not rows.replayed.any()
    assert (rows.last_period == 4).all()


@pytest.mark.parametrize("base", [1.0, 0.8])
@pytest.mark.parametrize("extent", ["full", "period"])
def test_exemplars_stand_beside_the_period_and_weigh_as_their_loss_does(store, base, extent):
    memory = learnt(store, 3)
    history = History(store, 4)
    strategy = Ader(10, distillation_weight=base, history=extent)
    rows = strategy.training_rows(history, memory)
    own = own_rows(history, extent)
    assert own.shape == (15, history.num_items)
    num_exemplars = rows.num_rows - 15
    assert 0 < num_exemplars <= 10
    np.testing.assert_array_equal(rows.replayed, np.arange(rows.num_rows) >= 15)
    np.testing.assert_array_equal(rows.interactions[:15].toarray(), own)
    assert (rows.last_period[15:] <= 3).all()
    assert rows.teacher is memory.teacher
    assert rows.teacher.num_items == History(store, 3).num_items < history.num_items
    grown = History(store, 3).num_items / history.num_items
    strength = base * np.sqrt(grown * num_exemplars / 15)
    np.testing.assert_array_equal(rows.weights[:15], 1.0)
    # Σ over the exemplars beside Σ over the rows is as their mean beside the mean of the rows.
    np.testing.assert_allclose(rows.weights[15:], strength * 15 / num_exemplars)
    assert rows.weights[15:].sum() / rows.weights[:15].sum() == pytest.approx(strength)


def test_it_is_individual_at_first_and_another_later(store):
    config = ReplayConfig(
        strategies=("individual", "ader"), models=(ModelChoice("infinite-ae", {"reg": 5.0}),)
    )
    found = figures_of(store, run_replay(store, config))
    for _, _, _, _, report in found.values():
        # A property of the strategy, also where nothing is replayed; reports are shared.
        report.pop("draws_at_random", None)
    same = [
        found["individual", *rest][1:] == found["ader", *rest][1:]
        for (strategy, *rest) in found
        if strategy == "ader"
    ]
    assert same == [True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "flag", "warm"),
    [
        ({}, {}, [False, True, True, True]),
        ({"warm_start": False}, {}, [False] * 4),
        ({"warm_start": False}, {"warm_start": True}, [False, True, True, True]),
    ],
)
def test_it_starts_warm_unless_told(store, settings, flag, warm):
    config = ReplayConfig(
        strategies=("ader",),
        models=(ModelChoice("mvae", {**MODEL_SETTINGS["mvae"], **flag}),),
        strategy_settings={"ader": {"budget": 10, **settings}},
    )
    run_id = run_replay(store, config)
    assert reports(store, run_id, "started_warm") == warm
    taught = reports(store, run_id, "rows_taught")
    assert taught[0] == 0
    assert all(0 < number <= 10 for number in taught[1:]), "taught all the same"
    # The run records the model as it was asked for.
    recorded = load_run(store, run_id).run.config["models"][0]["settings"]
    assert recorded["warm_start"] is flag.get("warm_start", False)


def test_a_model_without_weights_is_taught_too(store):
    assert make_strategy("ader").starts_warm is WarmStart.IF_POSSIBLE
    assert make_strategy("ader", {"warm_start": False}).starts_warm is WarmStart.BY_MODEL
    run_id = run_replay(store, config_of("infinite-ae"))
    used = reports(store, run_id, "rows_used")
    assert used[0] == 15
    assert all(15 < number <= 25 for number in used[1:])


@pytest.mark.parametrize("model", ["infinite-ae", "mvae"])
@pytest.mark.parametrize("settings", [{}, {"warm_start": False}])
def test_a_resumed_replay_comes_to_the_same_user_figures(store, model, settings):
    config = config_of(model, settings=settings, seeds=(0, 7))
    events = check_resume(store, config, interrupt_after(5))
    assert count_linked(events) == 5
    texts = [event.text for event in events if isinstance(event, StageMessage)]
    assert not any("again" in text for text in texts), "it resumes from the stored file"


def test_an_interrupt_within_a_fit_changes_nothing(store):
    def interrupt(event):
        if isinstance(event, StageMessage) and event.text == "herding exemplars of period 2":
            raise KeyboardInterrupt

    assert count_linked(check_resume(store, config_of("infinite-ae"), interrupt)) == 2


@pytest.mark.parametrize("model", ["infinite-ae", "mvae"])
@pytest.mark.parametrize("lost", ["file", "row and file", "damaged"])
def test_without_its_file_it_fits_again(store, model, lost):
    config = config_of(model)
    wanted = figures_of(store, run_replay(store, config))
    store.connection.execute("DELETE FROM cells WHERE fit_period = 4")
    store.connection.execute("DELETE FROM fits WHERE fit_key NOT IN (SELECT fit_key FROM cells)")
    if lost == "row and file":
        store.connection.execute("DELETE FROM model_files")
    for path in store.models_folder.iterdir():
        path.write_bytes(b"{}") if lost == "damaged" else path.unlink()
    events = []
    run_id = run_replay(store, config, listener=events.append)
    said = [event.text for event in events if isinstance(event, StageMessage)]
    assert [text for text in said if "again" in text] == [
        f"fitting period {period} again, to resume from it" for period in (1, 2, 3)
    ]
    assert figures_of(store, run_id) == wanted


def test_cells_in_between_can_be_made_again(store):
    config = config_of("infinite-ae")
    wanted = figures_of(store, run_replay(store, config))
    store.connection.execute("DELETE FROM cells WHERE fit_period IN (2, 4)")
    assert figures_of(store, run_replay(store, config)) == wanted


@pytest.mark.parametrize("model", ["infinite-ae", "mvae"])
def test_the_file_of_the_model_holds_the_exemplars_it_was_fitted_beside(store, model):
    run_replay(store, config_of(model))
    (path,) = store.models_folder.iterdir()
    arrays, manifest = load_arrays(path)
    own = {
        name.removeprefix("memory."): values
        for name, values in arrays.items()
        if name.startswith("memory.")
    }
    memory = ExemplarMemory(10).restore(own)
    kept = memory.exemplars
    # The last fit was at period 4, and saw what was herded after period 3.
    assert kept.rows.shape[1] == History(store, 3).num_items
    assert 0 < len(kept.groups) <= 10
    assert kept.periods.max() <= 3
    restored = make_recipe(model).restore(arrays, manifest)
    assert isinstance(restored, TaughtInfiniteAE if model == "infinite-ae" else FittedMVAE)
    learnt_on = memory.update(History(store, 4), restored, 0)
    assert learnt_on.replay_rows(restored.num_items).teacher is restored


@pytest.mark.parametrize("model", ["infinite-ae", "mvae"])
def test_the_newest_model_period_by_period_is_that_of_all_at_once(tmp_path, model):
    recipe, strategy = make_recipe(model, MODEL_SETTINGS[model]), Ader(10)
    log = write_log(tmp_path / "log.csv", num_periods=3)
    lines = log.read_text().splitlines()

    def publish(store, said=None):
        tell = (lambda _text: None) if said is None else said.append
        return newest_model(store, strategy, recipe, 0, progress=tell, versions=VERSIONS)

    with Store.open(tmp_path / "grown.duckdb") as grown:
        for day in range(3):
            path = tmp_path / f"day{day}.csv"
            start = 1_000_000_000 + 86_400 * day
            today = [li for li in lines[1:] if start <= int(li.split(",")[2]) < start + 86_400]
            path.write_text("\n".join([lines[0], *today]) + "\n")
            ingest_period(grown, path)
            said = []
            step_by_step = publish(grown, said)
            assert not any("again" in text for text in said), "each goes on from the kept one"
        kept = publish(grown, said := [])
        assert said == []
        assert kept is not step_by_step
    with Store.open(tmp_path / "whole.duckdb") as whole:
        at_once = publish(fill(whole, log, num_periods=3))
        contexts = History(whole, 3).rows(first=3).interactions
    for one in (step_by_step, kept):
        np.testing.assert_array_equal(
            np.concatenate(list(one.score_blocks(contexts, 64))),
            np.concatenate(list(at_once.score_blocks(contexts, 64))),
        )


def test_a_model_that_cannot_teach_is_refused(store):
    config = ReplayConfig(strategies=("ader",), models=(ModelChoice("popularity"),))
    with pytest.raises(UserError, match="choose infinite-ae or mvae"):
        run_replay(store, config)


@pytest.fixture
def short_store(tmp_path):
    with Store.open(tmp_path / "short.duckdb") as opened:
        yield fill(opened, write_log(tmp_path / "short.csv", 4), 4)


@pytest.mark.parametrize(
    ("strategy", "setting", "value"),
    [
        *((name, "budget", 0) for name in ("ader", "user-rns", "distill-ader")),
        *(("ader", "budget", "5B"), ("user-rns", "budget", "some")),
        ("distill-cf", "budget", "1600B"),
        *(("ader", "distillation_weight", value) for value in (0.0, -1.0, float("inf"))),
        *((name, "history", "some") for name in ("ader", "finetune", "distill-cf", "user-rns")),
        *((name, "memory_weight", 0.0) for name in ("user-rns", "distill-ader")),
        *(("ader", "policy", "all"), ("user-rns", "policy", "some")),
    ],
)
def test_settings_out_of_range_are_refused(strategy, setting, value):
    with pytest.raises(UserError, match=setting if setting != "policy" else "polic"):
        make_strategy(strategy, {setting: value})


CHEAP = tuple(name for name in SAMPLERS if name != "svp-cf-user")


@pytest.mark.parametrize(
    ("strategies", "policy"),
    [
        *((CHEAP, policy) for policy in ("all", "recent:2", "rolling", "whole")),
        pytest.param(("svp-cf-user",), "rolling", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_replay_draws_the_same_rows(store, strategies, policy):
    settings = choose_strategies(strategies, budget=6, policy=policy, weight=0.5)
    assert set(settings) == set(strategies)
    models = (ModelChoice("popularity"),)
    config = ReplayConfig(strategies, settings, models=models, seeds=(0, 7))
    # After two periods and a cell; the memory is rebuilt from the log.
    num_done = 2 * 2 * len(strategies) + 1
    assert count_linked(check_resume(store, config, interrupt_after(num_done))) == num_done


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("extent", ["full", "period"])
def test_rows_are_replayed_beside_those_of_the_period(store, name, extent):
    strategy = make_strategy(name, {"budget": 6, "memory_weight": 0.5, "history": extent})
    memory = strategy.empty_memory()
    for period in range(1, 4):
        memory = memory.update(History(store, period), None, 0)
    rows = strategy.training_rows(History(store, 4), memory)
    own = own_rows(History(store, 4), extent)
    np.testing.assert_array_equal(rows.interactions[: len(own)].toarray(), own)
    assert rows.replayed.sum() == 6
    assert rows.replayed[len(own) :].all()
    np.testing.assert_array_equal(rows.weights[rows.replayed], 0.5)
    assert (rows.last_period[rows.replayed] <= 3).all()


QUICK = {"distillation": dataclasses.asdict(DistillSettings(num_steps=2, validate_every=1))}
QUICK["distillation"]["regs"] = [1.0]
DISTILL_CONFIG = ReplayConfig(
    strategies=("individual", "distill-cf", "distill-ader"),
    strategy_settings={
        "distill-cf": {"budget": 4, "policy": "whole", **QUICK},
        "distill-ader": {"budget": 4, **QUICK},
    },
    models=(ModelChoice("infinite-ae", {"reg": 5.0}), ModelChoice("mvae", SMALL_MVAE)),
)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["all", "recent:2", "rolling", "whole"])
def test_summaries_never_exceed_bytes(store, policy):
    settings = {"distillation": {**QUICK["distillation"], "max_items": 6}}
    memory = make_strategy(
        "distill-cf", {"budget": "400B", "policy": policy, **settings}
    ).empty_memory()
    for period in range(1, 4):
        memory = memory.update(History(store, period), None, 0)
        rows = memory.replay_rows(History(store, period).num_items)
        assert 200 < sparse_bytes(rows.num_rows, rows.interactions.nnz) <= 400


@pytest.mark.slow
def test_summaries_serve_both_strategies_and_scores_only_one(short_store, monkeypatch):
    fits = record_fits(monkeypatch, InfiniteAE, MVAE)
    run_replay(short_store, DISTILL_CONFIG)
    assert len(list_summaries(short_store)) == 2
    for model in ("infinite-ae", "mvae"):
        # Period by period: individual, distill-cf, distill-ader.
        rows = [one for recipe, one, _ in fits if recipe.name == model]
        assert [one.teacher is not None for one in rows] == [False] * 5 + [True, False, False, True]
        for plain, taught in ((rows[4], rows[5]), (rows[7], rows[8])):
            np.testing.assert_array_equal(
                plain.interactions.toarray(), taught.interactions.toarray()
            )
            assert 0 < taught.replayed.sum() <= 4
            assert taught.teacher.num_items <= taught.num_items


@pytest.mark.slow
def test_a_resumed_distillation_comes_to_the_same_figures(short_store):
    assert count_linked(check_resume(short_store, DISTILL_CONFIG, interrupt_after(13))) == 13


@pytest.mark.slow
def test_finetune_hands_on_the_weights_and_others_do_not(short_store, monkeypatch):
    fits = record_fits(monkeypatch, MVAE)
    config = ReplayConfig(
        models=(ModelChoice("mvae", SMALL_MVAE),),
        strategies=("individual", "finetune"),
        source="toy",
    )
    data = load_run(short_store, run_replay(short_store, config))
    cold = [
        [options.previous is None for recipe, _, options in fits if recipe.warm_start is warm]
        for warm in (False, True)
    ]
    assert cold == [[True, True, True], [True, False, False]]
    # The run records the model as it was given.
    assert data.run.config["models"][0]["settings"]["warm_start"] is False


def test_a_model_without_weights_is_refused_before_anything_is_written(short_store):
    config = ReplayConfig(
        models=(ModelChoice("infinite-ae"),), strategies=("finetune",), source="toy"
    )
    with pytest.raises(UserError, match="choose another model, such as --model mvae"):
        run_replay(short_store, config)
    assert list_runs(short_store) == ()
