"""Which periods a fit is asked about, and what sets one question apart from another."""

import dataclasses

import numpy as np
import pytest

from perennial.replay.config import ReplayConfig
from perennial.replay.keys import evaluation_key
from perennial.replay.plan import PlannedEvaluation, asked_periods, make_questions, pose
from perennial.storage.log.periods import fingerprint
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings, build_evaluation

VERSIONS = {"code": "toys"}
NEXT = ReplayConfig()
ALL = ReplayConfig(held_out=HeldOutUsers(0.4))


def keys(store, config, fit_period=2):
    return [one.key for one in make_questions(store, config, fit_period, 5, VERSIONS)]


def test_the_next_period_or_every_one():
    assert asked_periods(NEXT, 3, 5) == (4,)
    assert asked_periods(ALL, 3, 5) == (1, 2, 3, 4, 5)


def test_questions_are_in_order_of_the_periods_asked_about(store):
    (one,) = make_questions(store, NEXT, 2, 5, VERSIONS)
    assert (one.fit_period, one.eval_period) == (2, 3)
    asked = make_questions(store, ALL, 2, 5, VERSIONS)
    assert [(one.fit_period, one.eval_period) for one in asked] == [(2, j) for j in range(1, 6)]


def test_the_usual_question_is_called_as_ever(store):
    # Cells that were made before there were other questions must be found.
    assert keys(store, NEXT) == [
        evaluation_key(
            log=fingerprint(store, 3), protocol=ProtocolSettings(), seed=0, versions=VERSIONS
        )
    ]


def test_no_two_questions_have_the_same_key(store):
    found = [key for fit in (1, 2, 3, 4) for key in keys(store, ALL, fit)]
    found += [key for fit in (1, 2, 3, 4) for key in keys(store, NEXT, fit)]
    assert len(set(found)) == len(found) == 24


@pytest.mark.parametrize(
    "change",
    [
        {"held_out": HeldOutUsers(0.3)},
        {"held_out": HeldOutUsers(0.4, 1)},
        {"evaluation_seed": 1},
        {"protocol": ProtocolSettings(mask_context=False)},
    ],
)
def test_other_settings_are_another_question(store, change):
    assert set(keys(store, ALL)).isdisjoint(keys(store, dataclasses.replace(ALL, **change)))


def test_what_is_no_matter_of_the_question_changes_nothing(store):
    other = dataclasses.replace(ALL, strategies=("ader",), seeds=(5,), memory_limit=7, source="x")
    assert keys(store, ALL) == keys(store, other)


@pytest.mark.parametrize("eval_period", [1, 3, 5])
def test_a_question_is_posed_to_the_held_out_users(store, eval_period):
    found = pose(store, ALL, PlannedEvaluation(3, eval_period, ""))
    by_hand = build_evaluation(
        store, 3, ALL.protocol, 0, eval_period=eval_period, only=ALL.held_out
    )
    assert (found.fit_period, found.eval_period) == (3, eval_period)
    np.testing.assert_array_equal(found.users, by_hand.users)
    np.testing.assert_array_equal(found.targets.toarray(), by_hand.targets.toarray())
    assert ALL.held_out.mask(found.users).all()
