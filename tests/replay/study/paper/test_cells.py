"""Keys, options and records of cells, and the figures of the paper beside them."""

from dataclasses import replace

import numpy as np
import pytest
from paper_toys import make_context, make_record, make_results

from perennial.replay.config import ModelChoice
from perennial.replay.metrics.base import UserValues
from perennial.replay.study.paper.base import StudyOptions, suited
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.groups import chosen_settings, group_records
from perennial.replay.study.paper.paper_figures import (
    PAPER,
    SHOWN,
    difference_percent,
    published_figure,
)
from perennial.replay.study.paper.records import MetricValue, read_record, record_path, write_record
from perennial.replay.study.paper.registry import find_study

SAMPLED = TrainingSet("user-rns", 50)
CELL = StudyCell(
    TrainingSet("distill-cf", 50, {"num_steps": 5}), ModelChoice("mvae", {"latent": 4}), 1
)


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path / "split.parquet", tmp_path)


def test_paths_are_in_no_key(context, tmp_path):
    elsewhere = make_context(tmp_path / "other.parquet", tmp_path / "other")
    assert elsewhere.cell_key(CELL) == context.cell_key(CELL)
    assert elsewhere.rows_key(CELL.rows, 1) == context.rows_key(CELL.rows, 1)


def test_everything_else_is_in_the_key(context):
    cells = [
        CELL,
        replace(CELL, seed=2),
        replace(CELL, model=ModelChoice("mvae", {"latent": 5})),
        replace(CELL, model=ModelChoice("infinite-ae")),
        replace(CELL, rows=replace(CELL.rows, users=51)),
        replace(CELL, rows=replace(CELL.rows, settings={"num_steps": 6})),
        replace(CELL, rows=SAMPLED),
        replace(CELL, rows=TrainingSet()),
    ]
    contexts = [
        context,
        replace(context, content="1" * 64),
        replace(context, keep_repeats=True),
        replace(context, versions={"code": "newer"}),
    ]
    keys = [one.cell_key(cell) for one in contexts for cell in cells]
    assert len(set(keys)) == len(keys)


def test_default_settings_and_evaluations_do_not_change_keys(context):
    other = replace(context, keep_repeats=True)
    assert context.rows_key(CELL.rows, 1) == other.rows_key(CELL.rows, 1)
    plain = StudyCell(SAMPLED, ModelChoice("mvae"), 0)
    named = replace(plain, model=ModelChoice("mvae", {"latent": 200}))
    assert context.cell_key(plain) == context.cell_key(named)


def test_few_rows_have_their_own_grid():
    assert min(suited(ModelChoice("infinite-ae"), SAMPLED).settings["regs"]) < 1.0
    assert suited(ModelChoice("infinite-ae"), TrainingSet()).settings == {}
    assert suited(ModelChoice("mvae"), SAMPLED).settings == {}
    for given in ({"regs": (3.0,)}, {"reg": 2.0}):
        assert suited(ModelChoice("infinite-ae", given), SAMPLED).settings == given


def test_cells_of_options():
    options = StudyOptions(
        models=(ModelChoice("mvae"), ModelChoice("infinite-ae")),
        samplers=("distill-cf", "user-rns"),
        users=(25, 50),
        seeds=(0, 1),
        distillation={"num_steps": 3},
    )
    cells = options.cross((TrainingSet(), *options.few()))
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 5 * 2
    settings = {cell.rows.sampler: cell.rows.settings for cell in cells}
    assert settings == {"all-users": {}, "distill-cf": {"num_steps": 3}, "user-rns": {}}


def test_the_standard_error_is_over_users():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    one = MetricValue.of("HR", 10, UserValues(values, np.ones(4)))
    assert (one.mean, one.stderr) == (pytest.approx(3.0), pytest.approx(values.std() / 2))
    heavier = MetricValue.of("AUC", None, UserValues(np.array([0.0, 1.0]), np.array([3.0, 1.0])))
    assert heavier.mean == pytest.approx(0.25)
    # √((3 · 0.25)² + (1 · 0.75)²) / 4
    assert heavier.stderr == pytest.approx(np.sqrt(2 * 0.75**2) / 4)
    empty = UserValues(np.zeros(0), np.zeros(0))
    assert MetricValue.of("HR", 10, empty) == MetricValue("HR", 10, None, None)


def test_a_record_is_read_as_it_was_written(tmp_path):
    report = {"reg": np.float64(5.0), "trials": ({"reg": 1.0, "HR@100": float("nan")},)}
    record = make_record(fit_report=report)
    write_record(tmp_path, record)
    again = read_record(tmp_path, record.key)
    assert again.values == record.values
    assert again.fit_report == {"reg": 5.0, "trials": [{"reg": 1.0, "HR@100": None}]}
    assert again.to_json() | {"fit_report": {}} == record.to_json() | {
        "fit_report": {},
        "values": again.to_json()["values"],
    }
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{record.key}.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "all-users-None-mvae-0"}'])
def test_a_damaged_file_and_one_with_another_key_are_ignored(tmp_path, text):
    record = make_record()
    path = record_path(tmp_path, record.key)
    assert read_record(tmp_path, record.key) is None
    write_record(tmp_path, record)
    path.rename(record_path(tmp_path, "another"))
    assert read_record(tmp_path, "another") is None
    path.write_text(text)
    assert read_record(tmp_path, record.key) is None


def test_groups_have_cells_that_differ_only_in_their_seeds():
    records = [
        make_record(seed=seed, users=users, sampler=sampler)
        for seed in (0, 1)
        for sampler, users in (("all-users", None), ("user-rns", 25), ("user-rns", 50))
    ]
    groups = group_records(records)
    assert [group.rows_name for group in groups] == ["all users", "user-rns 25", "user-rns 50"]
    assert [len(group.records) for group in groups] == [2, 2, 2]
    assert groups[1].mean_seconds("fit") == pytest.approx(2.5)
    assert groups[1].peak_bytes == 2**31


def test_chosen_settings_of_any_model():
    assert chosen_settings(make_record(fit_report={"updates": 40, "validation_nDCG@100": 3.5})) == {
        "updates": 40,
        "validation_nDCG@100": 3.5,
    }
    grid = {"chosen": {"reg": 5.0, "rank": 8}, "reg": 5.0, "steps": 3, "trials": [1, 2]}
    assert chosen_settings(make_record(fit_report=grid)) == {"reg": 5.0, "rank": 8, "steps": 3}


def test_both_data_sets_have_every_row_of_the_table():
    rows = {"pop", "bias", "mf", "neumf", "lightgcn", "ease", "mvae", "infinite-ae", "distill-cf"}
    for table in PAPER.values():
        assert set(table) == rows
        for row in table.values():
            assert list(row) == [("HR", 10), ("nDCG", 10), ("nDCG", 100), ("PSP", 10)]


def test_figures_of_the_paper():
    assert published_figure("ml-1m", "infinite-ae", ("nDCG", 100)) == 42.53
    assert published_figure("amazon-magazine", "distill-cf", ("PSP", 10)) == 13.76
    assert published_figure("ml-1m", "ease", ("AUC", None)) is None
    assert published_figure("ml-1m", "popularity", ("HR", 10)) is None
    assert published_figure(None, "ease", ("HR", 10)) is None


def test_differences_in_the_table_checked_by_hand():
    assert difference_percent(30.0, 25.0) == pytest.approx(20.0)
    assert difference_percent(20.0, 25.0) == pytest.approx(-20.0)
    records = [make_record(model="mvae", seed=seed, HR=22.70) for seed in (0, 1)] + [
        make_record("distill-cf", 500, "infinite-ae", HR=31.16)
    ]
    results = make_results("table1", find_study("table1"), records)
    lines = {(one["model"], one["metric"], one["k"]): one for one in results.rows()}
    assert set(SHOWN) == {(metric, k) for _, metric, k in lines}
    mvae = lines["mvae", "HR", 10]
    # (22.70 + 23.70) / 2 = 23.20, and 23.20 / 21.70 = 1.069124.
    assert (mvae["mean"], mvae["published"]) == (pytest.approx(23.20), 21.70)
    assert mvae["difference_percent"] == pytest.approx(6.9124, abs=1e-4)
    # The standard deviation of two values one apart is √½; over √2 that is a half.
    assert (mvae["stderr"], mvae["user_stderr"]) == (pytest.approx(0.5), pytest.approx(0.25))
    assert lines["infinite-ae", "HR", 10]["difference_percent"] == pytest.approx(0.0)
    assert lines["infinite-ae", "HR", 10]["stderr"] is None
    assert lines["mvae", "AUC", None]["published"] is None


def test_other_data_sets_and_numbers_of_users_have_no_published_figures():
    study = find_study("table1")
    results = make_results("table1", study, [make_record()], paper=None)
    assert not results.has_published
    assert {one["published"] for one in results.rows()} == {None}
    assert results.to_table().schema.field("published").type == "double"
    records = [make_record("distill-cf", 200, "infinite-ae"), make_record("user-rns", 500)]
    assert not make_results("table1", study, records).has_published
