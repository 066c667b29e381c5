"""Settings of models and strategies from the command line."""

import pytest

from perennial.replay.config import ModelChoice, choose_models
from perennial.storage.errors import UserError


def test_settings_go_to_their_model_and_the_last_one_counts():
    settings = [("mvae", "latent", 4), ("mvae", "hidden", 8), ("mvae", "latent", 5)]
    assert choose_models(["infinite-ae", "mvae"], settings) == (
        ModelChoice("infinite-ae", {}),
        ModelChoice("mvae", {"latent": 5, "hidden": 8}),
    )


def test_warm_start_goes_to_the_models_that_can():
    assert choose_models(["infinite-ae", "mvae"], warm_start=True) == (
        ModelChoice("infinite-ae", {}),
        ModelChoice("mvae", {"warm_start": True}),
    )


@pytest.mark.parametrize(
    ("names", "settings", "warm_start", "words"),
    [
        (["svd"], [], False, "unknown model 'svd'"),
        (["mvae"], [("mvae", "depth", 2)], False, "no setting 'depth'"),
        (["mvae"], [("mvae", "latent", "many")], False, "setting 'latent'"),
        (["infinite-ae"], [("mvae", "latent", 4)], False, "does not run"),
        (["infinite-ae"], [], True, "--warm-start"),
    ],
)
def test_mistakes_are_told(names, settings, warm_start, words):
    with pytest.raises(UserError, match=words):
        choose_models(names, settings, warm_start=warm_start)
