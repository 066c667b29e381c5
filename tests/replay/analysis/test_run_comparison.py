"""Comparison of runs on small figures, checked by hand."""

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
    config = {**RUN.config, **config}
    data = make_run(values, dataclasses.replace(RUN, run_id=number, config=config))
    # The keys of two runs' cells differ.
    cells = tuple(dataclasses.replace(cell, key=f"{number} {cell.key}") for cell in data.cells)
    figures = {f"{number} {key}": one for key, one in data.user_figures.items()}
    return dataclasses.replace(data, cells=cells, user_figures=figures)


def with_config(data, number, **config):
    changed = dataclasses.replace(data.run, run_id=number, config={**data.run.config, **config})
    return dataclasses.replace(data, run=changed)


def with_evaluations(data, prefix, versions, **changes):
    keys = {one.eval_period: f"{prefix} {one.eval_period}" for one in data.evaluated_users.values()}
    return dataclasses.replace(
        data,
        run=dataclasses.replace(data.run, versions=versions),
        cells=tuple(
            dataclasses.replace(one, evaluation_key=keys[one.eval_period]) for one in data.cells
        ),
        evaluated_users={
            keys[one.eval_period]: dataclasses.replace(one, **changes)
            for one in data.evaluated_users.values()
        },
    )


def mvae(**settings):
    return [{"name": "mvae", "settings": settings}]


@pytest.fixture
def warm():
    values = {
        ("joint", "mvae", 0, 2): {HR: [20.0, 40.0]},
        ("joint", "mvae", 0, 3): {HR: [30.0, 50.0, 70.0]},
        ("ader", "mvae", 0, 2): {HR: [0.0, 10.0]},
    }
    models = mvae(latent=8, warm_start=True)
    return run(5, values, models=models, strategy_settings={}, budget=500)


@pytest.fixture
def cold():
    values = {
        ("joint", "mvae", 0, 2): {HR: [10.0, 30.0]},
        ("joint", "mvae", 0, 3): {HR: [20.0, 40.0, 60.0]},
        ("joint", "ease", 0, 2): {HR: [10.0, 30.0]},
        ("pop", "mvae", 0, 2): {HR: [10.0, 30.0]},
    }
    models = mvae(latent=8, warm_start=False)
    settings = {"ader": {"warm_start": False}}
    return run(3, values, models=models, strategy_settings=settings, budget=500)


def test_users_are_paired(warm, cold):
    compared = compare_runs(warm, cold)
    (one,) = compared.differences
    assert compared.num_periods == 2
    assert (one.strategy, one.baseline, one.model) == ("joint", "joint of run 3", "mvae")
    # Each user gains 10, so the difference is 10 for any draw of users.
    assert (one.metric, one.k) == HR
    assert (one.low, one.mean, one.high) == pytest.approx((10, 10, 10))
    (one,) = compare_runs(cold, warm).differences
    assert (one.baseline, one.mean) == ("joint of run 5", pytest.approx(-10))


def test_a_run_does_not_differ_from_itself(warm):
    compared = compare_runs(warm, warm)
    assert {one.strategy for one in compared.differences} == {"joint", "ader"}
    assert all(one.low == one.mean == one.high == 0 for one in compared.differences)
    assert compared.changed == ()


def test_changed_settings_are_those_of_common_strategies_and_models(warm, cold):
    # `ader` has no cell in the other run, so its settings do not count.
    assert compare_runs(warm, cold).changed == (ChangedSetting("mvae.warm_start", True, False),)
    # Default settings equal given ones.
    models = mvae(warm_start=True, latent=8, hidden=600)
    again = with_config(warm, 6, strategy_settings={"joint": {}}, max_rows=90, models=models)
    assert compare_runs(again, warm).changed == (ChangedSetting("max_rows", 90, None),)
    # A setting that exists no more is shown as recorded.
    before = with_config(warm, 2, models=mvae(magic=3))
    assert ChangedSetting("mvae.magic", None, 3) in compare_runs(warm, before).changed


def test_only_common_periods_count(warm, cold):
    compared = compare_runs(warm, until_period(cold, 2))
    (one,) = compared.differences
    assert one.mean == pytest.approx(10)
    assert compared.num_periods == 1
    assert [setting.name for setting in compared.changed] == ["mvae.warm_start"]


def test_only_common_fits_count(warm):
    """With held-out users a period evaluates many fits, and one run may have more of them."""
    first = warm.cells[0]
    late = dataclasses.replace(first, key="late", fit_period=9)
    figures = tuple(
        dataclasses.replace(one, values=one.values + 50) for one in warm.user_figures[first.key]
    )
    longer = dataclasses.replace(
        warm, cells=(*warm.cells, late), user_figures={**warm.user_figures, "late": figures}
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


def test_another_version_may_have_the_same_evaluations(warm, cold):
    before = {"code": "before"}
    compared = compare_runs(warm, with_evaluations(cold, "before", before))
    assert compared.differences == compare_runs(warm, cold).differences
    assert ChangedSetting("versions.code", None, "before") in compared.changed
    with pytest.raises(UserError, match="have different evaluations"):
        compare_runs(warm, with_evaluations(cold, "before", before, counts={"targets": 7}))


def test_other_evaluations_are_refused(warm, cold):
    changed = with_config(cold, 3, protocol={"mask_context": False})
    unmasked = with_evaluations(changed, "unmasked", cold.run.versions)
    with pytest.raises(UserError, match="run 5 and run 3 have different evaluations of period 2"):
        compare_runs(warm, unmasked)


@pytest.mark.parametrize("name", [("pop", "mvae", 0, 2), ("joint", "mvae", 0, 7)])
def test_nothing_in_common_is_refused(warm, name):
    with pytest.raises(UserError, match="run 5 and run 4 have no strategy, model and period"):
        compare_runs(warm, run(4, {name: {HR: [10.0, 30.0]}}))


def test_page_json_and_terminal_show_it(warm, cold, tmp_path, capsys):
    compared, summary = compare_runs(warm, cold), summarise(warm)
    written = write_report(warm, summary, tmp_path, compared)
    page, numbers = (path.read_text() for path in written[:2])
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
