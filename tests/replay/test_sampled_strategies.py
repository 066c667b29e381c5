"""The samplers as strategies of a replay: what is fitted on, and that a resumed run agrees."""

import numpy as np
import pytest

from perennial.memory.samplers.registry import SAMPLERS
from perennial.replay.analysis.run import load_run
from perennial.replay.config import ModelChoice, ReplayConfig, choose_strategies
from perennial.replay.events import CellFinished
from perennial.replay.loop import run_replay
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.errors import UserError
from perennial.stream.history import History

pytestmark = pytest.mark.usefixtures("with_toys")

CHEAP = tuple(name for name in SAMPLERS if name != "svp-cf-user")


def figures(store, run_id):
    """Every user's figures, cell by cell."""
    data = load_run(store, run_id)
    return {
        (cell.strategy, cell.seed, cell.fit_period, one.metric, one.k): one.values.tolist()
        for cell in data.cells
        for one in data.user_figures[cell.key]
    }


def check_resume(store, strategies, policy):
    settings = choose_strategies(strategies, budget=6, policy=policy, weight=0.5)
    assert set(settings) == set(strategies)
    config = ReplayConfig(
        strategies=strategies,
        models=(ModelChoice("popularity"),),
        seeds=(0, 7),
        strategy_settings=settings,
    )

    def interrupt(event):
        if isinstance(event, CellFinished) and event.num_done == 2 * 2 * len(strategies) + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_replay(store, config, listener=interrupt)
    made = []
    resumed = run_replay(store, config, listener=made.append)
    cells = [event for event in made if isinstance(event, CellFinished)]
    # Two periods and a cell were there; the memory is caught up with from the log.
    assert sum(event.cell is None for event in cells) == 2 * 2 * len(strategies) + 1
    assert figures(store, resumed) == figures(store, run_replay(store, config, fresh=True))


@pytest.mark.parametrize("policy", ["all", "recent:2", "rolling", "whole"])
def test_a_resumed_replay_draws_the_same_rows(store, policy):
    check_resume(store, CHEAP, policy)


@pytest.mark.slow
def test_so_does_the_one_with_a_model(store):
    check_resume(store, ("svp-cf-user",), "rolling")


@pytest.mark.parametrize("name", CHEAP)
def test_rows_are_replayed_beside_those_of_the_period(store, name):
    strategy = make_strategy(name, {"budget": 6, "memory_weight": 0.5})
    memory = strategy.empty_memory()
    for period in range(1, 4):
        memory = memory.update(History(store, period), None, 0)
    rows = strategy.training_rows(History(store, 4), memory)
    own = History(store, 4).rows(first=4).interactions
    np.testing.assert_array_equal(
        rows.interactions[: own.shape[0]].toarray(), own.toarray()[:, : rows.num_items]
    )
    assert rows.replayed.sum() == 6
    assert rows.replayed[own.shape[0] :].all()
    np.testing.assert_array_equal(rows.weights[rows.replayed], 0.5)
    assert (rows.last_period[rows.replayed] <= 3).all()


@pytest.mark.parametrize(
    ("setting", "value"), [("budget", 0), ("policy", "some"), ("memory_weight", 0.0)]
)
def test_settings_that_mean_nothing_are_refused(setting, value):
    with pytest.raises(UserError):
        make_strategy("user-rns", {setting: value})
