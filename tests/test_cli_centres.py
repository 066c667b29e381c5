"""∞-AE on centres from the command line: replayed, recorded, asked, refused."""

import json

import pytest
from command_line import assert_fails, call, call_well
from test_cli import write_log

CENTRES = ("--model", "infinite-ae", "--set", "infinite-ae.centres=10")
ONE = (*CENTRES, "--set", "infinite-ae.reg=5", "--strategy", "individual")


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_log(tmp_path / "log.csv")


def figures(*arguments):
    told = json.loads(call_well("replay", *arguments, "--json").stdout)
    return told, [result["value"] for result in told["results"]]


def test_a_replay_records_its_centres_and_keeps_its_figures(log):
    told, first = figures(log, "--periods", 3, *ONE)
    (model,) = told["config"]["models"]
    assert model["settings"]["centres"] == 10
    assert figures(log, "--periods", 3, *ONE, "--fresh")[1] == first
    exact, others = figures(log, "--periods", 3, *(ONE[:2] + ONE[4:]))
    assert "centres" not in exact["config"]["models"][0]["settings"]
    assert others != first


def test_recommendations_name_the_rows_they_come_from(log):
    call_well("replay", log, "--periods", 3, *ONE)
    asked = ("recommend", "--store", "log.duckdb", "--items", "1,2", "--k", 3, *ONE)
    told = json.loads(call_well(*asked, "--why", "--json").stdout)
    assert [len(one["reasons"]) for one in told["recommendations"]] == [3, 3, 3]


def test_ader_is_refused_in_one_line(log):
    assert_fails(
        call("replay", log, "--periods", 3, *CENTRES, "--strategy", "ader", "--json"),
        "leave --set infinite-ae.centres out",
    )


def test_centres_that_do_not_fit_are_refused_in_one_line(log):
    assert_fails(
        call("replay", log, "--periods", 3, *ONE, "--memory-limit", "1MiB", "--json"),
        "raise --memory-limit",
    )
