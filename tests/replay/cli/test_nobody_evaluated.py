"""Numbers and the reason from every command where nobody can be evaluated."""

import pytest
from command_line import call_json, call_well

REASON = "had no interaction before their first target"
CHAIN = ("--model", "pop", "--strategy", "individual")


@pytest.fixture
def once(tmp_path, monkeypatch):
    """Write three period files of users who come once; work in the folder."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        lines = [f"u{number}-{user},{user % 3},{100 * number + user}\n" for user in range(8)]
        (tmp_path / f"{number}.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return tmp_path


@pytest.fixture
def store(once):
    """Ingest the files."""
    call_well("ingest", "1.csv", "2.csv", "3.csv", "--store", "s.duckdb")
    return "s.duckdb"


@pytest.mark.parametrize("command", [("replay",), ("study", "continual", "--workers", 1)])
def test_replays_and_studies(store, command):
    call = (*command, "--store", store, *CHAIN)
    printed = call_well(*call).stdout
    (sentence,) = (line for line in printed.splitlines() if line.startswith("Nobody"))
    assert "any of the 2 evaluated periods" in sentence
    assert "Mean over" not in printed
    found = call_json(*call)
    assert found["means"] == []
    assert found["evaluations"] == [
        {"eval_period": period, "users": 0, "skipped_users": 8, "without_context": 8}
        for period in (2, 3)
    ]


def test_reports_and_pages(store, once):
    call_well("replay", "--store", store, *CHAIN)
    printed = call_well("report", "--store", store, "-o", "out").stdout
    assert f"of 16 users, 16 {REASON}." in " ".join(printed.split())
    assert f"of 16 users, 16 {REASON}." in (once / "out" / "report.html").read_text()


def test_live_evaluations(once):
    call_well("init", "--store", "s.duckdb", *CHAIN)
    call_well("ingest", "1.csv", "--store", "s.duckdb")
    printed = call_well("ingest", "2.csv", "--store", "s.duckdb").stdout
    assert f"nobody could be evaluated (of 8 users, 8 {REASON})" in printed
    steps = call_json("ingest", "3.csv", "--store", "s.duckdb")["steps"]
    assert (steps[1]["users"]["users"], steps[1]["users"]["without_context"]) == (0, 8)
    (remark,) = call_json("status", "--store", "s.duckdb")["remarks"]
    assert f"of 16 users, 16 {REASON}." in remark
    assert "Nobody could be evaluated" in call_well("status", "--store", "s.duckdb").stdout
