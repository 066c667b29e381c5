"""Ranks and costs on small runs, checked by hand."""

import dataclasses

import pytest
from made_runs import HR, make_run

from perennial.replay.analysis.run import count_costs
from perennial.replay.analysis.summary import summarise
from perennial.replay.study.continual_report import rank_strategies

AUC = ("AUC", None)


def ranks_of(values):
    summary = summarise(make_run(values), num_resamples=0)
    return {
        (one.strategy, one.model, one.metric, one.k): (one.rank, one.of_mean)
        for one in rank_strategies(summary)
    }


def hr_ranks(figures, seed_of=lambda place: 0, period_of=lambda place: 2 + place):
    """Ranks in HR of strategies with a list of values, by default one for each period."""
    values = {
        (name, "mvae", seed_of(place), period_of(place)): {HR: [] if one is None else [one]}
        for name, given in figures.items()
        for place, one in enumerate(given)
    }
    return {name[0]: ranks for name, ranks in ranks_of(values).items()}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        # Ranks by period: a 3 3 1, b 1 2 2, c 2 1 3; means 20, 26.7, 23.3.
        (
            {"a": (10.0, 10.0, 40.0), "b": (30.0, 20.0, 30.0), "c": (20.0, 30.0, 20.0)},
            {"a": (pytest.approx(7 / 3), 3.0), "b": (pytest.approx(5 / 3), 1.0), "c": (2.0, 2.0)},
        ),
        # Equal strategies share their ranks.
        (
            {"a": (10.0, 1.0), "b": (10.0, 1.0), "c": (5.0, 1.0)},
            {"a": (1.75, 1.5), "b": (1.75, 1.5), "c": (2.5, 3.0)},
        ),
    ],
)
def test_ranks_are_averaged_over_periods(figures, expected):
    assert hr_ranks(figures) == expected


def test_seeds_are_averaged_before_ranking():
    figures = {"a": (10.0, 40.0), "b": (20.0, 20.0)}
    ranks = hr_ranks(figures, seed_of=lambda place: place, period_of=lambda place: 2)
    assert ranks["a"] == (1.0, 1.0)


def test_models_and_metrics_are_ranked_separately():
    ranks = ranks_of(
        {
            ("a", "mvae", 0, 2): {HR: [10.0], AUC: [0.9]},
            ("b", "mvae", 0, 2): {HR: [20.0], AUC: [0.8]},
            ("a", "infinite-ae", 0, 2): {HR: [90.0], AUC: [0.1]},
        }
    )
    assert (ranks["a", "mvae", *HR], ranks["a", "mvae", *AUC]) == ((2.0, 2.0), (1.0, 1.0))
    assert ranks["a", "infinite-ae", *HR] == (1.0, 1.0)


def test_periods_that_a_seed_lacks_do_not_count():
    # Seed 1 of b has no figure in period 3; the mean of other seeds is no match for a's.
    cells = {(name, "mvae", seed, 2): {HR: [10.0 + seed]} for name in "ab" for seed in (0, 1)}
    cells |= {("a", "mvae", seed, 3): {HR: [20.0]} for seed in (0, 1)}
    cells["b", "mvae", 0, 3] = {HR: [30.0]}
    found = rank_strategies(summarise(make_run(cells), num_resamples=0))
    assert {(one.strategy, one.rank, one.eval_periods) for one in found} == {
        ("a", 1.5, (2,)),
        ("b", 1.5, (2,)),
    }


def test_only_common_periods_count():
    assert hr_ranks({"a": (10.0, 90.0), "b": (20.0, None)})["a"] == (2.0, 2.0)
    assert ranks_of({("a", "mvae", 0, 2): {HR: [1.0]}, ("b", "mvae", 0, 3): {HR: [2.0]}}) == {}


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
    assert (cost.strategy, cost.model, cost.num_refits) == ("ader", "mvae", 3)
    assert cost.fit_seconds == pytest.approx(3 * 2.5)
    assert cost.memory_seconds == pytest.approx(1.5)
    assert (cost.kept_rows, cost.kept_interactions) == (30, 305)
    assert cost.kept_bytes == 8 * 305 + 4 * 30 + 4000


def test_a_fit_without_a_report_kept_nothing():
    (cost,) = count_costs(make_run({("joint", "mvae", 0, 2): {HR: [1.0]}}))
    assert (cost.kept_rows, cost.kept_interactions, cost.kept_bytes) == (0, 0, 0)
    assert (cost.fit_seconds, cost.memory_seconds) == (2.0, 0.0)
