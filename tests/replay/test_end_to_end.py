"""Both real models and both strategies through the whole loop, on a small made-up log."""

import json

import numpy as np
import pytest

from perennial.replay.analysis.run import load_run
from perennial.replay.analysis.summary import summarise
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.loop import run_replay
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.fitting import newest_model
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.replay.report.run import write_report
from perennial.replay.strategies.baselines import Joint
from perennial.storage.log.ingest import ingest_log
from perennial.storage.store import Store

MVAE = {"hidden": 32, "latent": 8, "max_updates": 150, "check_every": 25}
CONFIG = ReplayConfig(
    models=(ModelChoice("infinite-ae"), ModelChoice("mvae", MVAE)), seeds=(0, 1), source="tastes"
)
NUM_PERIODS = 3


def write_tastes(path):
    """Sixty users a day, half of whom come back; each likes one of three thirds of sixty items."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp"]
    for day in range(NUM_PERIODS):
        for user in range(30 * day, 30 * day + 60):
            own = np.arange(60) % 3 == user % 3
            weight = np.where(own, 20.0, 1.0) / (10 + np.arange(60) // 3)
            items = rng.choice(60, size=12, replace=False, p=weight / weight.sum())
            start = 1_000_000_000 + 86_400 * day
            lines += [f"{user},{item},{start + second}" for second, item in enumerate(items)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_real_models_learn_and_agree_with_themselves(tmp_path):
    path = tmp_path / "store.duckdb"
    starts = (1_000_000_000 + 86_400 * np.arange(1, NUM_PERIODS)) * 1_000_000
    with Store.open(path) as store:
        ingest_log(store, [write_tastes(tmp_path / "log.csv")], lambda _: starts.astype(np.int64))
        run_id = run_replay(store, CONFIG)
        data = load_run(store, run_id)
        again = load_run(store, run_replay(store, CONFIG, fresh=True))
        for model in CONFIG.models:
            recommend_from_kept(store, model)
    summary = summarise(data)
    assert len(data.cells) == 2 * 2 * 2 * (NUM_PERIODS - 1)
    assert summarise(again).results == summary.results, "the same seeds give the same to the bit"
    for mean in summary.means:
        if mean.metric == "AUC":
            assert mean.mean > 0.6, mean
    write_report(data, summary, tmp_path / "report")
    shown = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {mean["model"] for mean in shown["means"]} == {"infinite-ae", "mvae"}


def recommend_from_kept(store, choice):
    """The model that was just fitted and the one read from its file say the same."""
    from perennial.models.registry import make_recipe

    recipe = make_recipe(choice.name, choice.settings)
    fitted, kept = (newest_model(store, Joint(), recipe, seed=0) for _ in range(2))
    assert kept is not fitted
    first, second = (
        Recommender.from_model(
            store, model, "joint", recipe.name, Catalogue.load(store, [100])
        ).recommend(RecommendationQuery(user=100, k=5))
        for model in (fitted, kept)
    )
    assert [one.item for one in first] == [one.item for one in second]
    assert sum(one.item % 3 == 100 % 3 for one in first) >= 4, "user 100 likes the second third"
