"""A run less another one, on figures that can be reckoned by hand."""

import dataclasses
import json

import numpy as np
import pytest
from made_runs import HR, RUN, make_run
from rich.console import Console

from perennial.replay.analysis.run import until_period
from perennial.replay.analysis.run_comparison import ChangedSetting, compare_runs
from perennial.replay.analysis.summary import summarise
from perennial.replay.cli.tables import print_against
from perennial.replay.report.run import write_report
from perennial.storage.errors import UserError


def run(number, values, **config):
    """A run whose figures are given as in `make_run`."""
    config = {**RUN.config, **config}
    data = make_run(values, dataclasses.replace(RUN, run_id=number, config=config))
    # Cells of two runs are the same cell only where their keys are.
    cells = tuple(dataclasses.replace(cell, key=f"{number} {cell.key}") for cell in data.cells)
    figures = {f"{number} {key}": found for key, found in data.user_figures.items()}
    return dataclasses.replace(data, cells=cells, user_figures=figures)


@pytest.fixture
def warm():
    values = {
        ("joint", "mvae", 0, 2): {HR: [20.0, 40.0]},
        ("joint", "mvae", 0, 3): {HR: [30.0, 50.0, 70.0]},
        ("ader", "mvae", 0, 2): {HR: [0.0, 10.0]},
    }
    models = [{"name": "mvae", "settings": {"latent": 8, "warm_start": True}}]
    return run(5, values, models=models, strategy_settings={}, budget=500)


@pytest.fixture
def cold():
    values = {
        ("joint", "mvae", 0, 2): {HR: [10.0, 30.0]},
        ("joint", "mvae", 0, 3): {HR: [20.0, 40.0, 60.0]},
        ("joint", "ease", 0, 2): {HR: [10.0, 30.0]},
        ("pop", "mvae", 0, 2): {HR: [10.0, 30.0]},
    }
    models = [{"name": "mvae", "settings": {"latent": 8, "warm_start": False}}]
    settings = {"ader": {"warm_start": False}}
    return run(3, values, models=models, strategy_settings=settings, budget=500)


def test_the_same_users_are_paired(warm, cold):
    compared = compare_runs(warm, cold)
    (one,) = compared.differences
    assert compared.num_periods == 2
    assert (one.strategy, one.baseline, one.model) == ("joint", "joint of run 3", "mvae")
    assert (one.metric, one.k, one.mean) == ("HR", 10, pytest.approx(10))
    # Each user gains 10, so whoever is drawn the difference is 10.
    assert one.low == pytest.approx(10)
    assert one.high == pytest.approx(10)


def test_the_other_way_round_the_signs_change(warm, cold):
    (one,) = compare_runs(cold, warm).differences
    assert (one.baseline, one.mean) == ("joint of run 5", pytest.approx(-10))


def test_a_run_less_itself_is_nothing(warm):
    compared = compare_runs(warm, warm)
    assert {one.strategy for one in compared.differences} == {"joint", "ader"}
    assert all(one.low == one.mean == one.high == 0 for one in compared.differences)
    assert compared.changed == ()


def test_the_settings_that_differ_are_named_of_what_both_have(warm, cold):
    # `ader` has no cell in the other run, so what it was told there says nothing.
    assert compare_runs(warm, cold).changed == (ChangedSetting("mvae.warm_start", True, False),)


def test_settings_left_at_their_defaults_are_as_good_as_given(warm, cold):
    told = {**warm.run.config, "strategy_settings": {"joint": {}}, "max_rows": 90}
    told["models"] = [
        {"name": "mvae", "settings": {"warm_start": True, "latent": 8, "hidden": 600}}
    ]
    again = dataclasses.replace(warm, run=dataclasses.replace(warm.run, run_id=6, config=told))
    assert compare_runs(again, warm).changed == (ChangedSetting("max_rows", 90, None),)


def test_a_setting_that_is_no_more_is_shown_as_it_was_recorded(warm):
    old = {**warm.run.config, "models": [{"name": "mvae", "settings": {"magic": 3}}]}
    before = dataclasses.replace(warm, run=dataclasses.replace(warm.run, run_id=2, config=old))
    changed = {one.name: (one.here, one.there) for one in compare_runs(warm, before).changed}
    assert changed["mvae.magic"] == (None, 3)


def test_periods_that_only_one_has_are_left_out(warm, cold):
    compared = compare_runs(warm, until_period(cold, 2))
    (one,) = compared.differences
    assert one.mean == pytest.approx(10)
    assert compared.num_periods == 1
    assert [setting.name for setting in compared.changed] == ["mvae.warm_start"]


def test_fits_that_only_one_has_are_left_out(warm):
    """A run with held-out users judges a period by many fits, and one may have more of them."""
    late = dataclasses.replace(warm.cells[0], key="late", fit_period=9)
    figures = dict.fromkeys(
        ["late"],
        tuple(
            dataclasses.replace(one, values=one.values + 50)
            for one in warm.user_figures[warm.cells[0].key]
        ),
    )
    longer = dataclasses.replace(
        warm, cells=(*warm.cells, late), user_figures={**warm.user_figures, **figures}
    )
    assert {one.mean for one in compare_runs(longer, warm).differences} == {0.0}


def test_seeds_are_averaged_on_either_side(cold):
    two = {
        ("joint", "mvae", seed, period): {HR: [10.0 * seed + 10 * user for user in range(period)]}
        for seed in (1, 3)
        for period in (2, 3)
    }
    (one,) = compare_runs(run(6, two, models=cold.run.config["models"]), cold).differences
    # (20 + 10 user) on average; run 3 has 10 and 30, then 20, 40 and 60.
    assert one.mean == pytest.approx(((25 - 20) + (30 - 40)) / 2)


def test_another_version_may_have_asked_the_same(warm, cold):
    def as_of(version, **changes):
        keys = {one.eval_period: f"{version} {one.eval_period}" for one in cold.judged.values()}
        cells = tuple(
            dataclasses.replace(cell, evaluation_key=keys[cell.eval_period]) for cell in cold.cells
        )
        judged = {
            keys[one.eval_period]: dataclasses.replace(one, **changes)
            for one in cold.judged.values()
        }
        old = dataclasses.replace(cold.run, versions={"code": version})
        return dataclasses.replace(cold, run=old, cells=cells, judged=judged)

    compared = compare_runs(warm, as_of("before"))
    assert compared.differences == compare_runs(warm, cold).differences
    assert ChangedSetting("versions.code", None, "before") in compared.changed
    with pytest.raises(UserError, match="asked different questions"):
        compare_runs(warm, as_of("before", counts={"targets": 7}))


def test_other_questions_are_refused(warm, cold):
    asked = tuple(
        dataclasses.replace(cell, evaluation_key=f"unmasked {cell.eval_period}")
        for cell in cold.cells
    )
    judged = {f"unmasked {one.eval_period}": one for one in cold.judged.values()}
    config = {**cold.run.config, "protocol": {"mask_context": False}}
    unmasked = dataclasses.replace(
        cold, run=dataclasses.replace(cold.run, config=config), cells=asked, judged=judged
    )
    with pytest.raises(UserError, match="run 5 and run 3 asked different questions about period 2"):
        compare_runs(warm, unmasked)


def test_nothing_in_common_is_refused(warm):
    other = run(4, {("pop", "mvae", 0, 2): {HR: [10.0, 30.0]}})
    later = run(4, {("joint", "mvae", 0, 7): {HR: [10.0, 30.0]}})
    for one in (other, later):
        with pytest.raises(UserError, match="run 5 and run 4 have no strategy, model and period"):
            compare_runs(warm, one)


def test_it_stands_in_the_page_the_numbers_and_on_the_terminal(warm, cold, tmp_path, capsys):
    compared, summary = compare_runs(warm, cold), summarise(warm)
    page, numbers = (
        path.read_text() for path in write_report(warm, summary, tmp_path, compared)[:2]
    )
    print_against(compared, summary, Console(width=120))
    shown = capsys.readouterr().out
    for text in (page, shown):
        assert "Difference from run 3" in text
        assert "mvae.warm_start" in text
        assert "joint beats joint of run 3 by 10.00 points of HR@10" in text
    against = json.loads(numbers)["against"]
    assert list(against) == ["other_run", "num_periods", "changed", "differences"]
    assert against["other_run"] == 3
    assert np.isclose(against["differences"][0]["mean"], 10)
