"""Settings of models and strategies from the command line."""

from perennial.replay.config import ModelChoice, choose_models


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
