"""∞-AE on centres from the command line: replayed, recorded, recommended from, refused."""

import pytest
from command_line import assert_fails, call, call_json, call_well

CENTRES = ("--model", "infinite-ae", "--set", "infinite-ae.centres=10", "--periods", 3)
ONE = (*CENTRES, "--set", "infinite-ae.reg=5", "--strategy", "individual")


def test_a_replay_records_its_centres_and_keeps_its_figures(log, here):
    printed = call_json("replay", log, *ONE)
    (model,) = printed["config"]["models"]
    assert model["settings"]["centres"] == 10
    assert call_json("replay", log, *ONE, "--fresh")["results"] == printed["results"]
    exact = call_json("replay", log, *ONE[:2], *ONE[4:])
    assert "centres" not in exact["config"]["models"][0]["settings"]
    assert exact["results"] != printed["results"]


def test_recommendations_name_the_rows_they_come_from(log, here):
    call_well("ingest", log, "--store", "s.duckdb")
    items = ("--items", "101,102", "--k", 3, *CENTRES[:4], *ONE[6:], "--why")
    printed = call_json("recommend", "--store", "s.duckdb", *items)
    assert [len(one["reasons"]) for one in printed["recommendations"]] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((*CENTRES, "--strategy", "ader"), "leave --set infinite-ae.centres out"),
        ((*ONE, "--memory-limit", "1MiB"), "raise --memory-limit"),
    ],
)
def test_refusals_are_one_line(log, here, options, line):
    assert_fails(call("replay", log, *options, "--json"), line)
