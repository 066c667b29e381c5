"""Advice on small studies, worked out by hand."""

import pytest

from perennial.replay.analysis.advice import advise
from perennial.replay.analysis.run import Cost
from perennial.replay.analysis.summary import Difference, MeanFigure, RunSummary

LOG = frozenset({"joint"})


def make_summary(means, seconds, intervals, memory=None, model="mvae"):
    """A summary from HR@10 and seconds by strategy, and (strategy, baseline, k): (low, high)."""
    return RunSummary(
        config={},
        cells=(),
        results=(),
        means=tuple(
            MeanFigure(name, model, "HR", 10, mean, 0.1, 0.1, 3, 5) for name, mean in means.items()
        ),
        differences=tuple(
            Difference(
                *(name, baseline, model, "HR", k),
                mean=means[name] - means[baseline],
                low=None if ends is None else ends[0],
                high=None if ends is None else ends[1],
                periods=5,
                eval_periods=(2, 3, 4, 5, 6),
            )
            for (name, baseline, k), ends in intervals.items()
        ),
        costs=tuple(
            Cost(name, model, 5, time, (memory or {}).get(name, 0.0), 0, 0, 0, 0, 0)
            for name, time in seconds.items()
        ),
    )


def describe(summary):
    return [one.describe() for one in advise(summary, LOG.__contains__)]


MEANS = {"individual": 20.0, "joint": 25.0, "distill-cf": 24.9}
SECONDS = {"individual": 5.0, "joint": 42.0, "distill-cf": 8.0}
LEVEL = {
    ("individual", "joint", 10): (-6.0, -4.0),
    ("individual", "joint", 100): (-6.0, -4.0),
    ("distill-cf", "joint", 10): (-0.4, 0.2),
    ("distill-cf", "joint", 100): (-0.5, 0.1),
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        # 8 s of fits and 2 s of memory in place of 42 s are 76% less.
        (
            {},
            "With mvae take distill-cf: it is level with joint (HR@10 −0.1, 95% interval −0.4 to "
            "+0.2), takes 76% less time and needs no log.",
        ),
        (
            {("distill-cf", "joint", 10): (-0.4, -0.1)},
            "With mvae take joint: it has the highest HR@10, and all that are faster are below it.",
        ),
        # Level at 10, below at 100.
        (
            {("distill-cf", "joint", 100): (-0.9, -0.1)},
            "With mvae take joint: it has the highest HR@10, and all that are faster are below it.",
        ),
        # Without an interval nothing is known, of whichever strategy.
        (
            {("individual", "joint", 10): None},
            "With mvae no strategy can be advised: some differences from joint have no interval; "
            "give more seeds, such as --seed 0,1,2.",
        ),
    ],
    ids=["level", "below at 10", "below at 100", "no interval"],
)
def test_the_fastest_that_is_level_with_the_best(changed, sentence):
    summary = make_summary(MEANS, SECONDS, LEVEL | changed, memory={"distill-cf": 2.0})
    assert describe(summary) == [sentence]


def test_the_best_may_be_the_fastest():
    means = {"individual": 25.0, "joint": 24.0}
    ends = {("joint", "individual", k): (-2.0, 0.5) for k in (10, 100)}
    (one,) = advise(make_summary(means, SECONDS, ends), LOG.__contains__)
    assert (one.strategy, one.best, one.difference) == ("individual", "individual", None)
    assert one.describe().endswith("it has the highest HR@10, and no other is faster.")


def test_without_a_log_to_save_only_time_is_named():
    means, seconds = {"active": 25.0, "user-rns": 24.9}, {"active": 10.0, "user-rns": 5.0}
    ends = {("user-rns", "active", k): (-0.4, 0.2) for k in (10, 100)}
    (sentence,) = describe(make_summary(means, seconds, ends))
    assert sentence.endswith("−0.4 to +0.2) and takes 50% less time.")


def test_one_strategy_is_no_choice():
    assert advise(make_summary({"joint": 25.0}, SECONDS, {}), LOG.__contains__) == ()
