"""The local executor: tasks run once, are retried when a worker dies, and end together."""

import json
import os
import queue
import sys
from pathlib import Path

import pytest
from made_studies import Recorder, make_log_store, planted_modules

import perennial
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.study.continual import ContinualStudy, run_continual
from perennial.replay.study.continual_worker import ContinualRequest
from perennial.replay.study.workers.base import MAX_ATTEMPTS, Task, TaskBatch
from perennial.replay.study.workers.local import (
    REFUSED,
    LocalExecutor,
    WorkerProcess,
    worker_environment,
)
from perennial.storage.errors import UserError
from perennial.storage.store import Store


class Runner:
    """Runs tasks with the fake worker and records what happens."""

    def __init__(self, folder):
        self.folder, self.events, self.collected = folder, Recorder(), []

    def task(self, name, *attempts):
        request = ContinualRequest(
            json.dumps(attempts), str(self.folder / f"{name}.store"), ReplayConfig()
        )
        return Task(name, request, sum(step == "cell" for steps in attempts for step in steps))

    def run(self, *tasks, num_workers=2, on_event=None, worker="fake_worker"):
        collect, on_event = lambda task: self.collected.append(task.name), on_event or self.events
        batch = TaskBatch(tasks, worker, self.folder, collect, on_event)
        LocalExecutor(num_workers).run_tasks(batch)

    @property
    def most_running(self):
        changes = {"attempt": 1, "done": -1, "lost": -1}
        running = [0]
        for event in self.events:
            running.append(running[-1] + changes.get(event.kind, 0))
        return max(running)

    def made(self, name):
        return [
            event.details["cell"]
            for event in self.events
            if event.task.name == name and event.kind == "finished" and event.details["seconds"]
        ]

    def attempts(self, name):
        path = self.folder / f"{name}.store.attempts"
        return len(path.read_text()) if path.exists() else 0

    def assert_none_alive(self):
        for event in self.events:
            with pytest.raises(ProcessLookupError):
                os.kill(event.pid, 0)


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(tmp_path)]))
    return Runner(tmp_path)


@pytest.fixture
def log_store(tmp_path):
    return make_log_store(tmp_path, 3)


def test_each_task_runs_once(runner):
    names = ["a", "b", "c", "d", "e"]
    # Output that is no event is ignored.
    runner.run(*(runner.task(name, ["noise", "cell", "noise", "cell"]) for name in names))
    assert sorted(runner.collected) == names
    for name in names:
        assert runner.events.kinds(name) == ["attempt", "finished", "finished", "done"]
        assert runner.attempts(name) == 1
    assert (runner.most_running, runner.events.names("attempt")) == (2, names)


def test_one_worker_runs_tasks_in_order(runner):
    runner.run()
    assert runner.events == [], "no task needs no worker"
    runner.run(*(runner.task(name, ["cell"]) for name in "abc"), num_workers=1)
    assert (runner.collected, runner.most_running) == (["a", "b", "c"], 1)


def test_a_task_that_loses_three_workers_ends_the_study_in_one_line(runner):
    hopeless = runner.task("joint seed 1", ["cell", "die"])
    with pytest.raises(UserError) as caught:
        runner.run(hopeless, runner.task("other", ["hang"]))
    text = str(caught.value)
    assert "\n" not in text
    assert "joint seed 1 lost its worker 3 times (of this attempt)" in text
    assert "the same command resumes" in text
    log = next(runner.folder.glob("joint*.log"))
    assert str(log) in text
    assert log.read_text().count("last words") == 3
    assert (runner.attempts("joint seed 1"), runner.collected) == (3, [])
    runner.assert_none_alive()


def test_a_worker_without_output_is_described_by_its_exit_code(runner):
    (runner.folder / "mute_worker.py").write_text("import sys; sys.exit(3)")
    with pytest.raises(UserError, match="exit code 3"):
        runner.run(runner.task("mute"), worker="mute_worker")
    assert runner.events.names("attempt") == ["mute"] * MAX_ATTEMPTS


def test_a_refusal_ends_the_study_at_once(runner):
    with pytest.raises(UserError, match=r"^there is nothing to fit on$"):
        runner.run(
            runner.task("refused", ["cell", "refuse"]),
            runner.task("other", ["hang"]),
            runner.task("waiting", ["cell"]),
        )
    assert (runner.attempts("refused"), runner.attempts("waiting")) == (1, 0)
    assert runner.collected == []
    runner.assert_none_alive()


def test_an_interrupted_worker_interrupts_the_study(runner):
    with pytest.raises(KeyboardInterrupt):
        runner.run(runner.task("stopped", ["interrupt"]))
    assert runner.attempts("stopped") == 1


def test_an_error_of_the_listener_ends_the_workers(runner):
    def fail(event):
        runner.events(event)
        if event.kind == "finished":
            raise RuntimeError("broken listener")

    with pytest.raises(RuntimeError, match="broken listener"):
        runner.run(runner.task("a", ["cell", "hang"]), runner.task("b", ["hang"]), on_event=fail)
    assert len(runner.events) >= 2
    runner.assert_none_alive()


def test_the_environment_of_a_worker():
    off = {"PERENNIAL_COMPILE_CACHE": "off"}
    name, root = "XLA_PYTHON_CLIENT_PREALLOCATE", str(Path(perennial.__file__).parents[1])
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    made = worker_environment({**off, "OMP_NUM_THREADS": "8", "HOME": "/root", "NPROC": "4"})
    assert {made[one] for one in threads} == {"1"}
    assert (made["HOME"], made["PYTHONPATH"], made[name]) == ("/root", root, "false")
    assert made["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
    given = {**off, "XLA_FLAGS": "--xla_dump_to=x", name: "true", "PYTHONPATH": "elsewhere"}
    made = worker_environment(given)
    assert made["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert (made["PYTHONPATH"], made[name]) == (os.pathsep.join([root, "elsewhere"]), "true")


@pytest.mark.slow
def test_a_worker_executes_no_modules_of_the_user(log_store, tmp_path, monkeypatch):
    config = ReplayConfig(strategies=("individual",), models=(ModelChoice("pop"),))
    events = Recorder()
    with planted_modules(tmp_path, monkeypatch):
        run_continual(log_store, ContinualStudy(config, None), on_event=events)
    assert (events.names("done"), events.names("lost")) == (["individual seed 0"], [])


class TestContinualWorker:
    def start(self, log_store, config):
        events = queue.Queue()
        request = ContinualRequest(str(log_store), str(log_store.with_name("own.duckdb")), config)
        command = (sys.executable, "-m", "perennial.replay.study.continual_worker")
        log = log_store.with_name("log.txt")
        return WorkerProcess(command, f"{request.to_line()}\n", log, events), events

    @pytest.mark.slow
    def test_it_refuses_an_impossible_task(self, log_store):
        worker, events = self.start(log_store, ReplayConfig(strategies=("nonsense",)))
        assert events.get() == (worker, None)
        assert worker.wait() == REFUSED
        assert "unknown strategy 'nonsense'" in worker.refusal

    @pytest.mark.slow
    def test_it_ends_when_its_input_does(self, log_store):
        # Enough seeds that it would work for long.
        config = ReplayConfig(
            strategies=("joint",), models=(ModelChoice("infinite-ae"),), seeds=tuple(range(500))
        )
        worker, events = self.start(log_store, config)
        assert events.get()[1]["event"] == "started"
        assert worker.wait() == 1
        with Store.open(log_store.with_name("own.duckdb")) as store:
            store.rows("SELECT count(*) FROM cells")
