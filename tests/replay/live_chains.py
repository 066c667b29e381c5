"""Configurations of live stores, and what of a store must not depend on how it came about."""

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.ingest import LiveRequest
from perennial.storage.results.fits import read_model
from perennial.storage.results.publications import newest_publication
from perennial.storage.results.summaries import list_summaries

MODEL = ModelChoice("popularity")
TEACHER = ModelChoice("teacher")
DISTILLATION = {"budget": 4, "distillation": {"num_steps": 2, "batch_size": 8}}
WHOLE = {**DISTILLATION, "policy": "whole"}
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
    "whole": chain("distill-cf", MODEL, **WHOLE),
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


FORGETFUL = LiveRequest(forget_log_after=1)


def summaries(store):
    """Distilled rows, to the bit."""
    entries = store.rows("SELECT * FROM summary_entries ORDER BY ALL")
    return {one.key: [row for row in entries if row[0] == one.key] for one in list_summaries(store)}


def published_arrays(store):
    arrays, _ = read_model(store, newest_publication(store).fit_key)
    return {name: values.tobytes() for name, values in arrays.items()}
