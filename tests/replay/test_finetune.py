"""`finetune` starts every fit from the weights of the one before."""

import pytest
from toys import fill, write_log

from perennial.models.mvae.recipe import MVAE
from perennial.replay.analysis.run import load_run
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.loop import run_replay
from perennial.storage.errors import UserError
from perennial.storage.results.runs import list_runs
from perennial.storage.store import Store

SMALL = {"hidden": 8, "latent": 4, "max_updates": 4, "check_every": 2}


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.duckdb") as opened:
        yield fill(opened, write_log(tmp_path / "log.csv", 4), 4)


@pytest.mark.slow
def test_it_hands_on_the_weights_and_others_do_not(store, monkeypatch):
    handed = {"individual": [], "finetune": []}
    fit = MVAE.fit

    def spy(self, rows, options):
        handed["finetune" if self.warm_start else "individual"].append(options.previous)
        return fit(self, rows, options)

    monkeypatch.setattr(MVAE, "fit", spy)
    config = ReplayConfig(
        models=(ModelChoice("mvae", SMALL),), strategies=("individual", "finetune"), source="toy"
    )
    data = load_run(store, run_replay(store, config))
    assert [model is None for model in handed["finetune"]] == [True, False, False]
    assert [model is None for model in handed["individual"]] == [True, True, True]
    # The run records the model as it was asked for.
    assert data.run.config["models"][0]["settings"]["warm_start"] is False


def test_a_model_without_weights_is_refused_before_anything_is_written(store):
    config = ReplayConfig(
        models=(ModelChoice("infinite-ae"),), strategies=("finetune",), source="toy"
    )
    with pytest.raises(UserError, match="choose another model, such as --model mvae"):
        run_replay(store, config)
    assert list_runs(store) == ()
