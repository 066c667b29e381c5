"""Means, standard errors and differences on small runs and stretches of their periods."""

import dataclasses
import json

import numpy as np
import pytest
from made_runs import HR, make_run

from perennial.replay.analysis.run import from_period, is_within, until_period
from perennial.replay.analysis.summary import baseline_of, summarise


def hr_run(values):
    """A run of `mvae` from {(strategy, seed, eval_period): HR by user}."""
    return make_run(
        {(name, "mvae", seed, period): {HR: hr} for (name, seed, period), hr in values.items()}
    )


def test_json_has_exactly_the_agreed_shape():
    data = make_run({("joint", "mvae", 0, 2): {HR: [10.0, 30.0], ("AUC", None): [0.5, 0.7]}})
    shape = json.loads(json.dumps(summarise(data).to_json(), allow_nan=False))
    assert list(shape) == ["config", "results", "means", "evaluations", "timings", "costs"]
    name = {"strategy": "joint", "model": "mvae", "seed": 0, "fit_period": 1, "eval_period": 2}
    result = {**name, "metric": "HR", "k": 10, "value": 20.0, "num_users": 2}
    assert list(shape["results"][0].items()) == list(result.items())
    assert [one["k"] for one in shape["results"]] == [10, None]
    (mean, _) = shape["means"]
    fields = ["strategy", "model", "metric", "k", "mean", "stderr", "user_stderr"]
    assert list(mean) == [*fields, "seeds", "periods"]
    assert (mean["mean"], mean["seeds"], mean["periods"]) == (20.0, 1, 1)
    evaluated = {"eval_period": 2, "users": 2, "skipped_users": 0, "without_context": None}
    assert shape["evaluations"] == [evaluated]
    (timing,) = shape["timings"]
    expected = {**name, "seconds": {"fit": 2.0}, "peak_rss_bytes": 1000}
    assert list(timing.items()) == list(expected.items())
    config = {"seeds": [0], "periods": 3, "run": 3, "status": "finished", "versions": {"jax": "0"}}
    assert shape["config"] == config


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Periods weigh the same, whatever their users.
        ({("joint", 0, 2): [0.0], ("joint", 0, 3): [30.0, 30.0, 60.0]}, (0 + 40) / 2),
        # Seeds are averaged before periods.
        (
            {("joint", 0, 2): [10.0], ("joint", 1, 2): [20.0], ("joint", 0, 3): [40.0]},
            (15 + 40) / 2,
        ),
        # Periods without a figure are left out.
        ({("joint", 0, 2): [10.0, 20.0], ("joint", 0, 3): []}, 15.0),
    ],
)
def test_means(values, expected):
    (mean,) = summarise(hr_run(values)).means
    assert mean.mean == pytest.approx(expected)


def test_a_period_without_users_has_no_value():
    results = summarise(hr_run({("joint", 0, 2): [10.0, 20.0], ("joint", 0, 3): []})).results
    assert [(one.value, one.num_users) for one in results] == [(15.0, 2), (None, 0)]


def test_the_standard_error_is_over_users():
    values = np.random.default_rng(0).normal(50, 10, size=500)
    data = hr_run({("joint", seed, 2): values for seed in (0, 1)})
    (mean,) = summarise(data, num_resamples=3000).means
    assert mean.stderr == pytest.approx(values.std() / np.sqrt(500), rel=0.06)


def test_weights_count_in_the_standard_error():
    # Users without weight must not matter, however wild their values.
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=400), np.repeat([1.0, 0.0], 200)
    wild = np.where(weights > 0, values, 1e6)
    data = make_run({("joint", "mvae", 0, 2): {("AUC", None): (wild, weights)}})
    (mean,) = summarise(data, num_resamples=3000).means
    assert mean.mean == pytest.approx(values[:200].mean())
    assert mean.stderr == pytest.approx(values[:200].std() / np.sqrt(200), rel=0.08)


def test_the_same_seed_gives_the_same_standard_errors():
    data = hr_run({("joint", 0, 2): np.arange(30.0)})
    first, again, other = (summarise(data, seed=seed).means[0].stderr for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_differences_are_paired():
    values = np.random.default_rng(1).normal(50, 10, size=100)
    data = hr_run(
        {("joint", 0, 2): values + 1.0, ("individual", 0, 2): values, ("toy", 0, 2): values[::-1]}
    )
    joint, toy = summarise(data).differences
    assert (joint.strategy, joint.baseline, joint.model) == ("joint", "individual", "mvae")
    assert joint.mean == pytest.approx(1.0, abs=1e-5)
    assert (joint.low, joint.high) == pytest.approx((1.0, 1.0), abs=1e-4)
    spread = np.std(values[::-1] - values) / np.sqrt(100)
    assert toy.mean == pytest.approx(0.0, abs=1e-5)
    assert toy.high - toy.low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_differences_stay_within_a_model_and_need_draws():
    name, other = ("individual", "mvae", 0, 2), ("joint", "infinite-ae", 0, 2)
    assert summarise(make_run({name: {HR: [1.0]}, other: {HR: [3.0]}})).differences == ()
    data = hr_run({("individual", 0, 2): [10.0, 20.0], ("joint", 0, 2): [11.0, 21.0]})
    summary = summarise(data, num_resamples=0)
    assert [mean.stderr for mean in summary.means] == [None, None]
    assert summary.differences == ()


def test_differences_of_an_unfinished_run_are_over_common_periods():
    values = {("individual", 0, 2): [10.0, 20.0], ("joint", 0, 2): [11.0, 21.0]}
    summary = summarise(hr_run(values | {("individual", 0, 3): [90.0, 90.0]}))
    (difference,) = summary.differences
    assert (difference.low, difference.mean, difference.high) == pytest.approx((1.0, 1.0, 1.0))
    assert [mean.mean for mean in summary.means] == [pytest.approx(52.5), pytest.approx(16.0)]


def test_a_run_without_cells():
    summary = summarise(make_run({}))
    assert (summary.results, summary.means, summary.cells, summary.differences) == ((),) * 4


def test_the_baseline_is_individual_or_the_first():
    found = [baseline_of(["joint", other]) for other in ("individual", "toy")]
    assert found == ["individual", "joint"]


def make_joint(*periods):
    """A run in which each of these periods evaluated one user."""
    return make_run({("joint", "mvae", 0, period): {HR: [10.0 * period]} for period in periods})


def test_earlier_periods_can_be_left_out():
    data = make_joint(2, 3, 4)
    assert [cell.eval_period for cell in from_period(data, 3).cells] == [3, 4]
    assert [cell.eval_period for cell in data.cells] == [2, 3, 4]


def test_later_periods_can_be_left_out():
    data = hr_run({("joint", 0, 2): [10.0, 30.0], ("joint", 0, 3): [90.0]})
    summary = summarise(until_period(data, 2))
    assert [one.mean for one in summary.means] == [20.0]
    assert summary.config["until_period"] == 2
    assert until_period(data, 3) is data
    assert set(until_period(data, 2).evaluated_users) == {"asked 2"}


def test_a_fit_after_the_last_period_is_left_out():
    """The last model may be evaluated on early periods too."""
    (cell,) = make_joint(4).cells
    assert is_within(cell, 4)
    assert not is_within(cell, 3)
    assert not is_within(dataclasses.replace(cell, fit_period=4, eval_period=2), 4)
