"""`perennial study continual`, as a person calls it, on a small real file."""

import io
import json
import re
from pathlib import Path

import click
import pytest
from command_line import REPLAY, assert_fails, call, call_json, call_well
from rich.console import Console

from perennial.replay.cli.progress import watch_tasks
from perennial.replay.config import ReplayConfig
from perennial.replay.study.continual_worker import ContinualRequest
from perennial.replay.study.workers.base import Task, TaskEvent

SMALL = ("--periods", "3", "--model", "pop", "--strategy", "individual,joint", "--seed", "0")


@pytest.fixture(scope="module")
def studied(log, tmp_path_factory) -> tuple[Path, click.testing.Result]:
    folder = tmp_path_factory.mktemp("study")
    places = ("--store", folder / "visits.duckdb", "-o", folder / "out")
    more = ("--workers", "2", "--confirm-from", "3", "--json")
    return folder, call_well("study", "continual", log, *SMALL, *places, *more)


@pytest.mark.slow
class TestStudy:
    def test_one_json_object_alone_on_stdout(self, studied):
        _, result = studied
        printed = json.loads(result.stdout, parse_constant=pytest.fail)
        assert result.stdout.count("\n") == 1
        assert list(printed) == [
            *("config", "results", "means", "evaluations", "timings", "costs"),
            *("differences", "ranks", "confirmation", "transfer", "advice", "read_as", "remarks"),
        ]
        assert printed["config"]["source"] == "visits"
        assert printed["config"]["status"] == "finished"
        asked = {(one["strategy"], one["fit_period"]) for one in printed["results"]}
        assert asked == {(name, t) for name in ("individual", "joint") for t in (1, 2)}
        pairs = {(one["strategy"], one["baseline"]) for one in printed["differences"]}
        assert pairs == {("joint", "individual"), ("individual", "joint")}
        assert printed["confirmation"]["from_period"] == 3
        matrix = printed["transfer"][0]["matrix"]
        assert (len(matrix), len(matrix[0])) == (2, 3)
        folder, result = studied
        shown = call_json("report", "--store", folder / "visits.duckdb")
        assert shown["means"] == json.loads(result.stdout)["means"]

    def test_it_says_what_its_workers_do(self, studied):
        _, result = studied
        lines = result.stderr.splitlines()
        for name in ("individual seed 0", "joint seed 0", "joint seed 0 transfer"):
            assert f"{name}: begun" in lines
            assert f"{name}: done" in lines
        assert any(line.startswith("joint seed 0: period 1 pop (") for line in lines)

    def test_it_writes_a_page_and_pictures(self, studied):
        folder, result = studied
        out = folder / "out"
        page = (out / "report.html").read_text()
        assert "Strategies over the periods of visits" in page
        assert "Forgetting and transfer" in page
        printed = json.loads(result.stdout)
        # How files were read is no part of the study, which may resume without reading them.
        del printed["read_as"], printed["remarks"]
        assert json.loads((out / "report.json").read_text()) == printed
        names = {path.name for path in (out / "plots").iterdir()}
        assert {"hr-at-10.png", "hr-at-10.svg", "transfer-hr-at-100.png"} <= names
        assert not (folder / "visits.duckdb.study").exists()

    def test_again_it_shows_the_same_at_once(self, studied, log):
        folder, result = studied
        again = call_well(
            *("study", "continual", "--source", log, *SMALL),
            *("--store", folder / "visits.duckdb", "--workers", "1"),
        )
        assert "begun" not in again.stderr
        (mean,) = [
            one["mean"]
            for one in json.loads(result.stdout)["means"]
            if (one["strategy"], one["metric"], one["k"]) == ("joint", "HR", 10)
        ]
        assert f"{mean:.2f}" in again.stdout
        for title in ("Mean over the", "Rank", "Forgetting and transfer", "Cost"):
            assert title in again.stdout


def test_cells_of_a_replay_are_taken_as_they_are(log, replayed):
    store, by_replay = replayed
    options = (*REPLAY, "--seed", 0, "--no-transfer", "--workers", 4, "--json")
    result = call_well("study", "continual", log, "--store", store, *options)
    assert "begun" not in result.stderr
    printed = json.loads(result.stdout)
    assert (printed["means"], printed["transfer"]) == (by_replay["means"], [])
    assert printed["confirmation"] is None


@pytest.mark.slow
def test_the_last_period_can_be_left_out(studied, log):
    folder, result = studied
    again = ("study", "continual", log, *SMALL, "--store", folder / "visits.duckdb")
    printed, whole = call_json(*again, "--until-period", "2"), json.loads(result.stdout)
    assert printed["results"] == [one for one in whole["results"] if one["eval_period"] == 2]
    assert printed["transfer"][0]["matrix"] == [whole["transfer"][0]["matrix"][0][:2]]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "line", "code"),
        [
            ("continual a.csv --strategy joint,all", "'all' is unknown", 2),
            ("continual a.csv --workers 0", "'--workers'", 2),
            ("continual a.csv --confirm-from 1", "'--confirm-from'", 2),
            ("continual a.csv --source a.csv", "the source is given twice", 2),
            ("forward", "No such command 'forward'", 2),
            ("continual nothing.csv", "'nothing.csv' is neither a file", 1),
        ],
    )
    def test_what_was_not_understood(self, here, arguments, line, code):
        assert_fails(call("study", *arguments.split()), line, code)
        assert list(here.iterdir()) == []

    def test_periods_past_the_end_are_refused_before_any_work(self, log, here):
        result = call("study", "continual", log, *SMALL, "--confirm-from", "4")
        assert_fails(result, "no period from 4 on was evaluated; give a smaller --confirm-from")
        assert "begun" not in result.stderr
        late = call("study", "continual", log, *SMALL, "--confirm-from", "3", "--until-period", "2")
        assert_fails(late, "no period from 3 on is left by --until-period 2")

    def test_what_cannot_go_together(self, log, here):
        result = call("study", "continual", log, *SMALL[:4], "--strategy", "finetune")
        assert_fails(result, "choose another model")
        assert not (here / "visits.duckdb.study").exists()


class TestScreen:
    """Drawings while workers are at work; nothing of them may reach stdout."""

    def events(self):
        task = Task("joint [red] seed 0", ContinualRequest("a", "b", ReplayConfig()), 2)
        cell = {"fit_period": 3, "eval_period": 4, "model": "mvae"}
        for kind, details in (
            ("attempt", {}),
            ("started", {"cell": cell}),
            ("stage", {"text": "kernel [bold]of[/] 40 rows"}),
            ("finished", {"cell": cell, "seconds": 61.0}),
            ("lost", {}),
            ("attempt", {}),
            ("finished", {"cell": cell, "seconds": None}),
            ("finished", {"cell": cell, "seconds": 2.0}),
            ("done", {}),
        ):
            yield TaskEvent(task, 123, kind, details)

    def test_a_bar_per_task_on_a_terminal(self, capsys):
        drawn = io.StringIO()
        with watch_tasks(Console(file=drawn, force_terminal=True, width=140)) as watch:
            for event in self.events():
                watch(event)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.getvalue())
        assert "joint [red] seed 0: its worker 123 died" in text
        assert capsys.readouterr().out == ""

    def test_lines_elsewhere(self):
        drawn = io.StringIO()
        with watch_tasks(Console(file=drawn, width=30)) as watch:
            for event in self.events():
                watch(event)
        assert drawn.getvalue().splitlines() == [
            "joint [red] seed 0: begun",
            "joint [red] seed 0: period 3 mvae (1 min 01 s)",
            "joint [red] seed 0: its worker 123 died; another resumes from what it made",
            "joint [red] seed 0: begun",
            "joint [red] seed 0: period 3 mvae (2.0 s)",
            "joint [red] seed 0: done",
        ]
