"""Engines without a cluster: a task as it is elsewhere, and what keeps one from joining."""

import io
import json
import re
import socket
import sys
from pathlib import Path

import pytest
from command_line import assert_fails, call
from paper_toys import FAST, make_ground, write_split
from rich.console import Console
from toys import fill, write_log

from perennial.replay.cli.progress import watch_crew
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.machine import default_workers
from perennial.replay.study.continual_worker import ContinualRequest, main
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.rows import make_rows
from perennial.replay.study.paper.runner import plan_tasks
from perennial.replay.study.workers.base import (
    ExecutorOptions,
    Task,
    TaskEvent,
    TaskFiles,
    place_here,
    read_brought,
)
from perennial.replay.study.workers.ray import count_places
from perennial.replay.study.workers.registry import open_executor
from perennial.replay.study.workers.remote_main import describe_difference
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

CONFIG = ReplayConfig(
    strategies=("ader",),
    strategy_settings={"ader": {"budget": 5}},
    models=(ModelChoice("infinite-ae", {"reg": 5.0}),),
)


def carry_out(errand, folder, monkeypatch, work):
    """Do an errand in a folder that has nothing but what it takes; what it brings."""
    folder.mkdir()
    for place, path in errand.takes.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(path.read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO(errand.line + "\n"))
    # The thread that ends with its input would end the tests.
    monkeypatch.setattr("perennial.replay.study.workers.process._end_with_input", lambda: None)
    assert work() == 0
    return read_brought(folder, tuple(errand.brings))


class TestErrand:
    def test_what_is_brought_goes_where_it_belongs(self):
        errand = TaskFiles("", {}, {"a.json": Path("x/b.json"), "models": Path("y")})
        assert place_here(errand, "a.json") == Path("x/b.json")
        assert place_here(errand, "models/deep/one") == Path("y/deep/one")

    @pytest.mark.parametrize("place", ["b.json", "a", "models/../z", "../models", "", "/etc/x"])
    def test_nothing_else_is_taken(self, place):
        with pytest.raises(ValueError, match="not asked for"):
            place_here(TaskFiles("", {}, {"a.json": Path("x"), "models": Path("y")}), place)

    def test_folders_are_brought_with_all_that_is_in_them(self, tmp_path):
        (tmp_path / "models" / "deep").mkdir(parents=True)
        for name in ("a", "b", "models/c", "models/deep/d"):
            (tmp_path / name).write_text(name)
        brought = read_brought(tmp_path, ("a", "models", "absent"))
        assert brought == {name: name.encode() for name in ("a", "models/c", "models/deep/d")}

    def test_a_part_of_a_replay_comes_back_without_the_log(self, tmp_path, monkeypatch, capsys):
        snapshot = tmp_path / "log.duckdb"
        with Store.open(snapshot) as store:
            fill(store, write_log(tmp_path / "log.csv", num_periods=3), 3)
            store.models_folder.mkdir()
            (store.models_folder / "fit-x.safetensors").write_bytes(b"kept")
        request = ContinualRequest(str(snapshot), str(tmp_path / "mine.task.duckdb"), CONFIG)
        errand = request.away()
        assert str(tmp_path) not in errand.line
        assert set(errand.takes) == {"own.duckdb", "own.duckdb.models/fit-x.safetensors"}
        brought = carry_out(errand, tmp_path / "there", monkeypatch, main)
        told = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
        assert told.count("finished") == 2
        for place, content in brought.items():
            path = place_here(errand, place)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        with Store.open(request.store) as results:
            assert results.rows("SELECT count(*) FROM cells") == [(2,)]
            assert results.rows("SELECT count(*) FROM interactions") == [(0,)]
            ((name,),) = results.rows("SELECT file FROM model_files")
            assert [one.name for one in results.models_folder.iterdir()] == [name]

    def test_a_cell_takes_its_split_and_rows_and_brings_its_file(self, tmp_path, monkeypatch):
        from perennial.replay.study.paper.worker import main as work

        ground = make_ground(write_split(tmp_path / "s.parquet"), tmp_path / "study")
        rows = TrainingSet("user-rns", 10)
        cell = StudyCell(rows, ModelChoice("infinite-ae", FAST["infinite-ae"]), 0)
        (first,), (second,) = plan_tasks(ground, [cell])
        name = f"rows/{ground.rows_key(rows, 0)}.safetensors"
        errand = first.request.away()
        assert errand.takes == {"split.parquet": Path(ground.split)}
        assert errand.brings == {name: Path(ground.folder) / name}
        monkeypatch.setattr("perennial.replay.study.paper.worker._say", lambda text: None)
        brought = carry_out(errand, tmp_path / "one", monkeypatch, work)
        assert list(brought) == [name]
        made = make_rows(ground, rows, 0, lambda text: None)
        errand = second.request.away()
        assert errand.takes == {"split.parquet": Path(ground.split), name: made}
        assert str(tmp_path) not in errand.line
        brought = carry_out(errand, tmp_path / "two", monkeypatch, work)
        assert list(brought) == [f"cells/{ground.cell_key(cell)}.json"]
        assert json.loads(*brought.values())["num_rows"] == 10


class TestSameCode:
    def test_nothing_stands_in_the_way_of_equals(self):
        assert describe_difference({"code": "a"}, {"code": "a"}, "gpu-1") is None

    def test_what_differs_is_told(self):
        told = describe_difference({"code": "a", "jax": "1"}, {"code": "b", "jax": "1"}, "gpu-1")
        assert told == (
            "the worker on gpu-1 has code b, this machine has code a; start all machines from "
            "the same image or wheel"
        )
        assert "jax none" in describe_difference({"jax": "1"}, {}, "gpu-1")

    def test_another_device_is_told_apart(self):
        told = describe_difference({"device": "gpu"}, {"device": "cpu"}, "n1")
        assert told.startswith("the worker on n1 computes on cpu, not on gpu; ")
        assert "--gpus-per-cell" in told


class TestOpening:
    def test_local_workers_are_as_many_as_asked(self):
        with open_executor("local", ExecutorOptions(3), pytest.fail) as engine:
            assert (engine.num_workers, engine.num_beside) == (3, 3)
            assert engine.versions == read_versions()
        with open_executor("local", ExecutorOptions(), pytest.fail) as engine:
            assert engine.num_workers == default_workers()

    def test_places_of_a_cluster(self):
        nodes = [
            {"Alive": True, "Resources": {"memory": 1.0}},
            {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
            {"Alive": True, "Resources": {"CPU": 3.0}},
            {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
        ]
        assert count_places(nodes, 0) == [4, 3]
        assert count_places(nodes, 0.5) == [2]
        assert count_places(nodes, 2) == []

    def refuse(self, address):
        with (
            pytest.raises(UserError) as caught,
            open_executor("ray", ExecutorOptions(address=address), lambda text: None),
        ):
            pass
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_nobody_answers(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            told = self.refuse(f"127.0.0.1:{port}")
            assert told.startswith(f"no Ray at 127.0.0.1:{port}: Connection refused")
            assert self.refuse(f"ray://127.0.0.1:{port}").startswith("no Ray at ray://127.0.0.1")

    @pytest.mark.parametrize("address", ["somewhere", "host:", "http://host:8265", "a:b", ":6379"])
    def test_what_is_no_address(self, address):
        assert "is no address of a Ray cluster; give host:6379" in self.refuse(address)

    def test_the_address_of_the_environment(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "nowhere")
        assert "'nowhere' is no address" in self.refuse(None)

    def test_ray_is_not_installed(self, monkeypatch):
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setitem(sys.modules, "ray", None)
        told = self.refuse(None)
        assert (
            told == "--engine ray needs Ray, which is not installed: pip install 'perennial[ray]'"
        )


class TestCommands:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "command", [("replay",), ("study", "continual"), ("study", "table1"), ("study", "noise")]
    )
    def test_options_of_clusters_belong_to_clusters(self, command):
        assert_fails(call(*command, "--address", "auto"), "give --engine ray with it", 2)
        assert_fails(call(*command, "--gpus-per-cell", "1"), "give --engine ray with it", 2)
        assert_fails(call(*command, "--engine", "dask"), "'--engine'", 2)
        given = ("--engine", "ray", "--address", "nowhere")
        assert_fails(call(*command, *given), "'nowhere' is no address of a Ray cluster")

    def test_a_fresh_replay_is_for_one_process(self):
        for given in (("--engine", "ray"), ("--workers", "2")):
            assert_fails(call("replay", "--fresh", *given), "is for this process alone", 2)


def test_what_a_person_is_told_of_other_machines():
    task = Task("joint seed 0", ContinualRequest("a", "b", ReplayConfig()), 2)
    for given in ({}, {"force_terminal": True, "width": 120}):
        drawn = io.StringIO()
        with watch_crew(Console(file=drawn, **given)) as watch:
            watch(TaskEvent(task, 0, "waiting"))
            watch(TaskEvent(task, 7, "begun", {"where": "gpu-1"}))
            watch(TaskEvent(task, 7, "lost", {"where": "gpu-1"}))
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.getvalue())
        assert "joint seed 0: waits for a machine; `ray status` shows" in text
        assert "joint seed 0: its worker 7 on gpu-1 died; another begins it anew" in text
