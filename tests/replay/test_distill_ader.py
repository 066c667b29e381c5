"""`distill-ader` through the period loop: the summaries of `distill-cf`, and the old answers."""

import dataclasses

import numpy as np
import pytest
from toys import fill, write_log

from perennial.memory.distill.settings import DistillSettings
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.mvae.recipe import MVAE
from perennial.replay.analysis.run import load_run
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.loop import run_replay
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("with_toys")]

QUICK = {"distillation": dataclasses.asdict(DistillSettings(num_steps=2, validate_every=1))}
QUICK["distillation"]["regs"] = [1.0]
CONFIG = ReplayConfig(
    strategies=("individual", "distill-cf", "distill-ader"),
    strategy_settings={name: {"budget": 4, **QUICK} for name in ("distill-cf", "distill-ader")},
    models=(
        ModelChoice("infinite-ae", {"reg": 5.0}),
        ModelChoice("mvae", {"hidden": 8, "latent": 4, "max_updates": 4, "check_every": 2}),
    ),
)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.duckdb") as opened:
        yield fill(opened, write_log(tmp_path / "log.csv", num_periods=4), 4)


def figures(store, run_id):
    data = load_run(store, run_id)
    return {
        (cell.strategy, cell.model, cell.fit_period, one.metric, one.k): one.values.tolist()
        for cell in data.cells
        for one in data.user_figures[cell.key]
    }


def test_summaries_serve_both_strategies_and_answers_only_one(store, monkeypatch):
    given = {}
    for recipe in (InfiniteAE, MVAE):
        fit = recipe.fit

        def spy(self, rows, options, fit=fit):
            given.setdefault(self.name, []).append(rows)
            return fit(self, rows, options)

        monkeypatch.setattr(recipe, "fit", spy)
    run_replay(store, CONFIG)
    assert len(list_summaries(store)) == 2
    for rows in given.values():
        # Period by period: individual, distill-cf, distill-ader.
        assert [one.teacher is not None for one in rows] == [False] * 5 + [True] + [False] * 2 + [
            True
        ]
        for plain, taught in ((rows[4], rows[5]), (rows[7], rows[8])):
            np.testing.assert_array_equal(
                plain.interactions.toarray(), taught.interactions.toarray()
            )
            assert 0 < taught.replayed.sum() <= 4
            assert taught.teacher.num_items <= taught.num_items


def test_a_resumed_replay_comes_to_the_same_figures(store):
    def interrupt(event):
        if isinstance(event, CellFinished) and event.num_done == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_replay(store, CONFIG, listener=interrupt)
    resumed = run_replay(store, CONFIG)
    assert figures(store, resumed) == figures(store, run_replay(store, CONFIG, fresh=True))


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"budget": 0}, {"memory_weight": 0.0}):
        with pytest.raises(Exception, match=next(iter(wrong))):
            make_strategy("distill-ader", wrong)
