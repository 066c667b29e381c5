import numpy as np
import pytest
from paper_toys import make_record

from perennial.replay.metrics.base import UserValues
from perennial.replay.study.paper.groups import chosen_settings, group_records
from perennial.replay.study.paper.records import MetricValue, read_record, record_path, write_record


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
