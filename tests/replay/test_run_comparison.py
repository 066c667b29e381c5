"""A run less another one, on figures that can be reckoned by hand."""

import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console
from test_summary import HR, RUN, make_run

from replay.console.screen import print_against
from replay.report.files import write_report
from replay.run_comparison import ChangedSetting, compare_runs
from replay.summary import summarise, until_period
from storage.errors import UserError


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


def test_the_settings_that_differ_are_named(warm, cold):
    assert compare_runs(warm, cold).changed == (
        ChangedSetting("mvae.warm_start", True, False),
        ChangedSetting("ader.warm_start", None, False),
    )


def test_periods_that_only_one_has_are_left_out(warm, cold):
    compared = compare_runs(warm, until_period(cold, 2))
    (one,) = compared.differences
    assert one.mean == pytest.approx(10)
    changed = {setting.name: setting.other for setting in compared.changed}
    assert changed["until_period"] == 2


def test_other_questions_are_refused(warm, cold):
    asked = tuple(
        dataclasses.replace(cell, evaluation_key=f"unmasked {cell.eval_period}")
        for cell in cold.cells
    )
    judged = {f"unmasked {one.eval_period}": one for one in cold.judged.values()}
    unmasked = dataclasses.replace(cold, cells=asked, judged=judged)
    with pytest.raises(UserError, match="run 5 and run 3 asked different questions about period 2"):
        compare_runs(warm, unmasked)


def test_nothing_in_common_is_refused(warm):
    other = run(4, {("pop", "mvae", 0, 2): {HR: [10.0, 30.0]}})
    with pytest.raises(UserError, match="run 5 and run 4 share no strategy with the same model"):
        compare_runs(warm, other)
    later = run(4, {("joint", "mvae", 0, 7): {HR: [10.0, 30.0]}})
    with pytest.raises(UserError, match="run 5 and run 4 judged no period in common"):
        compare_runs(warm, later)


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
    assert list(against) == ["run", "changed", "differences"]
    assert against["run"] == 3
    assert np.isclose(against["differences"][0]["mean"], 10)
