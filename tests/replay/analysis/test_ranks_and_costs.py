"""Ranks and costs that can be reckoned by hand."""

import dataclasses

import pytest
from made_runs import HR, make_run

from perennial.replay.analysis.ranks_and_costs import count_costs, rank_strategies
from perennial.replay.analysis.summary import summarise

AUC = ("AUC", None)


def ranks_of(values):
    summary = summarise(make_run(values), num_resamples=0)
    return {
        (one.strategy, one.model, one.metric, one.k): (one.rank, one.of_mean)
        for one in rank_strategies(summary)
    }


def test_the_best_of_a_period_is_first():
    figures = {"a": (10, 10, 40), "b": (30, 20, 30), "c": (20, 30, 20)}
    found = ranks_of(
        {
            (name, "mvae", 0, period): {HR: [float(values[period - 2])]}
            for name, values in figures.items()
            for period in (2, 3, 4)
        }
    )
    # Places by period: a 3 3 1, b 1 2 2, c 2 1 3; means 20, 26.7, 23.3.
    assert found == {
        ("a", "mvae", *HR): (pytest.approx(7 / 3), 3.0),
        ("b", "mvae", *HR): (pytest.approx(5 / 3), 1.0),
        ("c", "mvae", *HR): (2.0, 2.0),
    }


def test_those_that_are_level_share_their_places():
    found = ranks_of(
        {
            ("a", "mvae", 0, 2): {HR: [10.0]},
            ("b", "mvae", 0, 2): {HR: [10.0]},
            ("c", "mvae", 0, 2): {HR: [5.0]},
            ("a", "mvae", 0, 3): {HR: [1.0]},
            ("b", "mvae", 0, 3): {HR: [1.0]},
            ("c", "mvae", 0, 3): {HR: [1.0]},
        }
    )
    assert found["a", "mvae", *HR] == found["b", "mvae", *HR] == (1.75, 1.5)
    assert found["c", "mvae", *HR] == (2.5, 3.0)


def test_seeds_are_averaged_before_places_are_given():
    found = ranks_of(
        {
            ("a", "mvae", 0, 2): {HR: [10.0]},
            ("a", "mvae", 1, 2): {HR: [40.0]},
            ("b", "mvae", 0, 2): {HR: [20.0]},
            ("b", "mvae", 1, 2): {HR: [20.0]},
        }
    )
    assert found["a", "mvae", *HR] == (1.0, 1.0)


def test_models_and_metrics_are_ranked_apart():
    found = ranks_of(
        {
            ("a", "mvae", 0, 2): {HR: [10.0], AUC: [0.9]},
            ("b", "mvae", 0, 2): {HR: [20.0], AUC: [0.8]},
            ("a", "infinite-ae", 0, 2): {HR: [90.0], AUC: [0.1]},
        }
    )
    assert found["a", "mvae", *HR] == (2.0, 2.0)
    assert found["a", "mvae", *AUC] == (1.0, 1.0)
    assert found["a", "infinite-ae", *HR] == (1.0, 1.0)


def test_only_periods_that_all_have_count():
    found = ranks_of(
        {
            ("a", "mvae", 0, 2): {HR: [10.0]},
            ("b", "mvae", 0, 2): {HR: [20.0]},
            ("a", "mvae", 0, 3): {HR: [90.0]},
            ("b", "mvae", 0, 3): {HR: []},
        }
    )
    assert found["a", "mvae", *HR] == (2.0, 2.0)
    apart = ranks_of({("a", "mvae", 0, 2): {HR: [1.0]}, ("b", "mvae", 0, 3): {HR: [2.0]}})
    assert apart == {}


def test_costs_are_those_of_one_seed_and_of_the_last_refit():
    data = make_run(
        {("ader", "mvae", seed, period): {HR: [1.0]} for seed in (0, 1) for period in (2, 3, 4)}
    )
    cells = tuple(
        dataclasses.replace(
            cell,
            stages={"fit": 2.0 + cell.seed, "memory": 0.5, "evaluate": 9.0},
            fit_report={
                "kept_rows": 10 * cell.fit_period,
                "kept_interactions": 100 * cell.fit_period + 10 * cell.seed,
                "kept_model_bytes": 4000,
            },
        )
        for cell in data.cells
    )
    (cost,) = count_costs(dataclasses.replace(data, cells=cells))
    assert (cost.strategy, cost.model) == ("ader", "mvae")
    assert cost.num_refits == 3
    assert cost.fit_seconds == pytest.approx(3 * 2.5)
    assert cost.memory_seconds == pytest.approx(1.5)
    assert cost.kept_rows == 30
    assert cost.kept_interactions == 305
    assert cost.kept_bytes == 8 * 305 + 4000


def test_a_fit_that_tells_nothing_kept_nothing():
    (cost,) = count_costs(make_run({("joint", "mvae", 0, 2): {HR: [1.0]}}))
    assert (cost.kept_rows, cost.kept_interactions, cost.kept_bytes) == (0, 0, 0)
    assert (cost.fit_seconds, cost.memory_seconds) == (2.0, 0.0)
