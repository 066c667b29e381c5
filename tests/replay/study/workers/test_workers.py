"""Executors without a cluster: files of remote tasks, and reasons not to join one."""

import io
import json
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import assert_fails, call
from made_studies import CONFIG as STUDY_CONFIG
from made_studies import make_log_store
from paper_toys import FAST, make_context, write_split
from rich.console import Console

from perennial.replay.cli.progress import watch_tasks
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.machine import default_workers
from perennial.replay.study.continual_worker import ContinualRequest, main
from perennial.replay.study.paper import worker
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.rows import make_rows
from perennial.replay.study.paper.runner import plan_tasks
from perennial.replay.study.workers.base import (
    ExecutorOptions,
    Task,
    TaskEvent,
    TaskFiles,
    read_outputs,
)
from perennial.replay.study.workers.ray_cluster import count_slots
from perennial.replay.study.workers.ray_task import describe_difference
from perennial.replay.study.workers.registry import EXECUTORS
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

CONFIG = replace(STUDY_CONFIG, strategies=("ader",))


def run_in(folder, files, monkeypatch, main):
    """Run a task in a folder with its inputs alone; returns its outputs."""
    folder.mkdir()
    for name, path in files.inputs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO(files.line + "\n"))
    # The thread that ends with its input would end the tests.
    monkeypatch.setattr("perennial.replay.study.workers.local._exit_with_input", lambda: None)
    assert main() == 0
    return read_outputs(folder, files.outputs)


class TestTaskFiles:
    FILES = TaskFiles("", {}, {"a.json": Path("x/b.json"), "models": Path("y")})

    @pytest.mark.parametrize("name", ["b.json", "a", "models/../z", "../models", "", "/etc/x"])
    def test_other_files_are_refused(self, name):
        with pytest.raises(ValueError, match="is no output of its task"):
            self.FILES.destination(name)

    def test_folders_are_read_with_all_that_is_in_them(self, tmp_path):
        (tmp_path / "models" / "deep").mkdir(parents=True)
        for name in ("a", "b", "models/c", "models/deep/d"):
            (tmp_path / name).write_text(name)
        outputs = read_outputs(tmp_path, ("a", "models", "absent"))
        assert outputs == {name: name.encode() for name in ("a", "models/c", "models/deep/d")}

    def test_a_part_of_a_replay_returns_results_without_the_log(
        self, tmp_path, monkeypatch, capsys
    ):
        snapshot = make_log_store(tmp_path, 3)
        with Store.open(snapshot) as store:
            store.models_folder.mkdir()
            (store.models_folder / "fit-x.safetensors").write_bytes(b"kept")
        request = ContinualRequest(str(snapshot), str(tmp_path / "mine.task.duckdb"), CONFIG)
        files = request.task_files()
        assert str(tmp_path) not in files.line
        assert set(files.inputs) == {"own.duckdb", "own.duckdb.models/fit-x.safetensors"}
        outputs = run_in(tmp_path / "there", files, monkeypatch, main)
        kinds = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
        assert kinds.count("finished") == 2
        for name, content in outputs.items():
            path = files.destination(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        with Store.open(request.store) as results:
            assert results.rows("SELECT count(*) FROM cells") == [(2,)]
            assert results.rows("SELECT count(*) FROM interactions") == [(0,)]
            ((name,),) = results.rows("SELECT file FROM model_files")
            assert [one.name for one in results.models_folder.iterdir()] == [name]

    def test_a_cell_needs_split_and_rows_and_returns_its_file(self, tmp_path, monkeypatch):
        context = make_context(write_split(tmp_path / "s.parquet"), tmp_path / "study")
        rows = TrainingSet("user-rns", 10)
        cell = StudyCell(rows, ModelChoice("infinite-ae", FAST["infinite-ae"]), 0)
        (first,), (second,) = plan_tasks(context, [cell])
        name = f"rows/{context.rows_key(rows, 0)}.safetensors"
        files = first.request.task_files()
        assert files.inputs == {"split.parquet": Path(context.split)}
        assert files.outputs == {name: Path(context.folder) / name}
        monkeypatch.setattr(worker, "emit", lambda *_, **__: None)
        assert list(run_in(tmp_path / "one", files, monkeypatch, worker.main)) == [name]
        made = make_rows(context, rows, 0, ignore_progress)
        files = second.request.task_files()
        assert files.inputs == {"split.parquet": Path(context.split), name: made}
        assert str(tmp_path) not in files.line
        outputs = run_in(tmp_path / "two", files, monkeypatch, worker.main)
        assert list(outputs) == [f"cells/{context.cell_key(cell)}.json"]
        assert json.loads(*outputs.values())["num_rows"] == 10


@pytest.mark.parametrize(
    ("expected", "own", "words"),
    [
        ({"code": "a", "jax": "1"}, {"code": "b", "jax": "1"},
         "^the worker on n1 has code b, this machine has code a; start all machines from the "
         "same image or wheel$"),
        ({"jax": "1"}, {}, "jax none"),
        ({"device": "gpu"}, {"device": "cpu"},
         "^the worker on n1 computes on cpu, not on gpu; .*--gpus-per-cell"),
    ],
)  # fmt: skip
def test_differences_of_versions_are_named(expected, own, words):
    assert re.search(words, describe_difference(expected, own, "n1"))
    assert describe_difference(own, own, "n1") is None


class TestOpening:
    def test_the_number_of_local_workers(self):
        with EXECUTORS.load("local")(ExecutorOptions(3), pytest.fail) as executor:
            assert (executor.num_workers, executor.workers_per_machine) == (3, 3)
            assert executor.versions == read_versions()
        with EXECUTORS.load("local")(ExecutorOptions(), pytest.fail) as executor:
            assert executor.num_workers == default_workers()

    def test_slots_of_a_cluster(self):
        nodes = [
            {"Alive": True, "Resources": {"memory": 1.0}},
            {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
            {"Alive": True, "Resources": {"CPU": 3.0}},
            {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
        ]
        assert (count_slots(nodes, 0), count_slots(nodes, 0.5)) == ([4, 3], [2])
        assert count_slots(nodes, 2) == []

    def refuse(self, address):
        with (
            pytest.raises(UserError) as caught,
            EXECUTORS.load("ray")(ExecutorOptions(address=address), lambda text: None),
        ):
            pass
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_an_address_without_answer(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            text = self.refuse(f"127.0.0.1:{port}")
            assert text.startswith(f"no Ray at 127.0.0.1:{port}: Connection refused")
            assert self.refuse(f"ray://127.0.0.1:{port}").startswith("no Ray at ray://127.0.0.1")

    @pytest.mark.parametrize("address", ["somewhere", "host:", "http://host:8265", "a:b", ":6379"])
    def test_a_malformed_address(self, address):
        assert "is no address of a Ray cluster; give host:6379" in self.refuse(address)

    def test_the_address_of_the_environment_and_no_ray(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "nowhere")
        assert "'nowhere' is no address" in self.refuse(None)
        monkeypatch.delenv("RAY_ADDRESS")
        monkeypatch.setitem(sys.modules, "ray", None)
        words = "--engine ray needs Ray, which is not installed: pip install 'perennial[ray]'"
        assert self.refuse(None) == words


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


def test_messages_about_other_machines():
    task = Task("joint seed 0", ContinualRequest("a", "b", ReplayConfig()), 2)
    for given in ({}, {"force_terminal": True, "width": 120}):
        drawn = io.StringIO()
        with watch_tasks(Console(file=drawn, **given)) as watch:
            watch(TaskEvent(task, 0, "waiting"))
            watch(TaskEvent(task, 7, "attempt", {"where": "gpu-1"}))
            watch(TaskEvent(task, 7, "lost", {"where": "gpu-1"}))
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.getvalue())
        assert "joint seed 0: waits for a machine; `ray status` shows" in text
        assert "joint seed 0: its worker 7 on gpu-1 died; another begins it anew" in text
