"""Parts of a replay: chains, evaluations, missing cells."""

import dataclasses

import pytest

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished
from perennial.replay.keys import evaluation_key
from perennial.replay.loop import run_replay
from perennial.replay.plan import missing_tasks, plan_evaluations
from perennial.storage.log.periods import fingerprint
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings

VERSIONS = {"code": "toys"}
CONFIG = ReplayConfig(
    strategies=("individual", "toy"),
    strategy_settings={"toy": {"size": 2}},
    models=(ModelChoice("popularity"),),
    seeds=(0, 7),
)
pytestmark = pytest.mark.usefixtures("with_toys")


def missing(store, config):
    parts = missing_tasks(store, config, VERSIONS)
    return {(*part.config.strategies, *part.config.seeds): part.num_missing for part in parts}


def test_a_partial_replay_leaves_the_rest(store):
    run_replay(store, dataclasses.replace(CONFIG, seeds=(7,), strategies=("toy",)))

    def stop(event):
        if isinstance(event, CellFinished) and event.num_done == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_replay(store, CONFIG, listener=stop)
    # Period by period: both seeds of `individual`, then `toy` 0, of period 1.
    assert missing(store, CONFIG) == {("individual", 0): 3, ("individual", 7): 3, ("toy", 0): 3}


def test_parts_put_together_are_the_whole(store):
    chains = (("individual", 0), ("individual", 7), ("toy", 0), ("toy", 7))
    assert missing(store, CONFIG) == dict.fromkeys(chains, 4)
    for part in missing_tasks(store, CONFIG, VERSIONS):
        (strategy,) = part.config.strategies
        own = {name: CONFIG.strategy_settings[name] for name in ("toy",) if name == strategy}
        assert (part.config.strategy_settings, part.config.models) == (own, CONFIG.models)
        made = []
        run_replay(store, part.config, listener=made.append)
        finished = [one for one in made if isinstance(one, CellFinished)]
        assert len([one for one in finished if one.cell is not None]) == part.num_missing
    assert missing(store, CONFIG) == {}


def test_chains_that_follow_need_all_fits_before(store):
    warm = ReplayConfig(
        strategies=("individual",), models=(ModelChoice("popularity", {"warm": True}),)
    )
    run_replay(store, warm)
    store.connection.execute("DELETE FROM cells WHERE fit_period = 2")
    assert missing(store, warm) == {("individual", 0): 1}
    store.connection.execute("DELETE FROM fits WHERE fit_key NOT IN (SELECT fit_key FROM cells)")
    assert missing(store, warm) == {("individual", 0): 3}


def test_with_held_out_users_every_period_is_asked_about(store):
    config = dataclasses.replace(
        CONFIG, strategies=("toy",), seeds=(0,), held_out=HeldOutUsers(0.4)
    )
    assert missing(store, config) == {("toy", 0): 20}
    run_replay(store, dataclasses.replace(config, held_out=None))
    assert missing(store, config) == {("toy", 0): 20}, "those fits saw everyone"
    run_replay(store, config)
    assert missing(store, config) == {}
    store.connection.execute("DELETE FROM cells WHERE eval_period = 1")
    assert missing(store, config) == {("toy", 0): 4}


NEXT = ReplayConfig()
ALL = ReplayConfig(held_out=HeldOutUsers(0.4))


def keys(store, config, fit_period=2):
    return [one.key for one in plan_evaluations(store, config, fit_period, 5, VERSIONS)]


def test_the_key_of_an_evaluation_on_the_next_period_has_no_extra_parts(store):
    # Cells that were made before there were other evaluations must be found.
    assert keys(store, NEXT) == [
        evaluation_key(
            log=fingerprint(store, 3), protocol=ProtocolSettings(), seed=0, versions=VERSIONS
        )
    ]


def test_no_two_evaluations_have_the_same_key(store):
    found = [
        key for config in (ALL, NEXT) for fit in (1, 2, 3, 4) for key in keys(store, config, fit)
    ]
    assert len(set(found)) == len(found) == 24


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"held_out": HeldOutUsers(0.3)}, False),
        ({"held_out": HeldOutUsers(0.4, 1)}, False),
        ({"evaluation_seed": 1}, False),
        ({"protocol": ProtocolSettings(mask_context=False)}, False),
        ({"strategies": ("ader",), "seeds": (5,), "memory_limit": 7, "source": "x"}, True),
    ],
)
def test_keys_follow_from_the_settings_of_the_evaluation_alone(store, change, is_same):
    found = keys(store, dataclasses.replace(ALL, **change))
    assert (
        set(found) == set(keys(store, ALL)) if is_same else set(found).isdisjoint(keys(store, ALL))
    )
