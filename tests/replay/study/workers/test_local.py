"""The crew: tasks are shared out, taken up again when a worker dies, and never done twice."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from toys import fill, write_log

import perennial
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.study.continual_worker import ContinualRequest
from perennial.replay.study.workers import local as crew
from perennial.replay.study.workers.base import Task
from perennial.replay.study.workers.local import COMMAND, run_tasks, worker_environment
from perennial.replay.study.workers.process import REFUSED
from perennial.storage.errors import UserError
from perennial.storage.store import Store

FAKE = (sys.executable, str(Path(__file__).parent / "fake_worker.py"))


class Crew:
    """Runs tasks with the fake worker and remembers what happened."""

    def __init__(self, folder):
        self.folder, self.events, self.collected = folder, [], []
        self.most_at_work, self.at_work = 0, set()

    def task(self, name, *tries):
        request = ContinualRequest(
            json.dumps(tries), str(self.folder / f"{name}.store"), ReplayConfig()
        )
        return Task(name, request, sum(word == "cell" for words in tries for word in words))

    def watch(self, event):
        self.events.append(event)
        if event.kind == "begun":
            self.at_work.add(event.pid)
        elif event.kind in ("done", "lost"):
            self.at_work.discard(event.pid)
        self.most_at_work = max(self.most_at_work, len(self.at_work))

    def run(self, *tasks, num_workers=2, watch=None):
        run_tasks(
            tasks,
            num_workers,
            self.folder,
            lambda task: self.collected.append(task.name),
            watch or self.watch,
            FAKE,
        )

    def kinds(self, name):
        return [event.kind for event in self.events if event.task.name == name]

    def made(self, name):
        return [
            event.details["cell"]
            for event in self.events
            if event.task.name == name and event.kind == "finished" and event.details["seconds"]
        ]

    def tries(self, name):
        path = self.folder / f"{name}.store.tries"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def crew_of(tmp_path):
    return Crew(tmp_path)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_task_is_done_once(crew_of):
    names = ["a", "b", "c", "d", "e"]
    crew_of.run(*(crew_of.task(name, ["cell", "cell"]) for name in names))
    assert sorted(crew_of.collected) == names
    for name in names:
        assert crew_of.kinds(name) == ["begun", "finished", "finished", "done"]
        assert crew_of.tries(name) == 1
    assert crew_of.most_at_work == 2
    begun = [event.task.name for event in crew_of.events if event.kind == "begun"]
    assert begun == names


def test_one_worker_does_one_task_after_the_other(crew_of):
    crew_of.run(*(crew_of.task(name, ["cell"]) for name in "abc"), num_workers=1)
    assert crew_of.collected == ["a", "b", "c"]
    assert crew_of.most_at_work == 1


def test_no_task_needs_no_worker(crew_of):
    crew_of.run()
    assert crew_of.events == []


def test_a_task_whose_worker_died_goes_on_from_what_it_had_made(crew_of):
    dying = crew_of.task("dying", ["cell", "die"], ["cell", "cell"])
    crew_of.run(dying, crew_of.task("other", ["cell"]))
    assert crew_of.collected.count("dying") == 1
    assert crew_of.made("dying") == ["0", "1", "2"]
    kinds = crew_of.kinds("dying")
    assert kinds == ["begun", "finished", "lost", "begun", *["finished"] * 3, "done"]
    lost = next(event for event in crew_of.events if event.kind == "lost")
    begun = [event.pid for event in crew_of.events if event.kind == "begun"]
    assert lost.pid in begun


def test_a_task_that_loses_three_workers_ends_the_study_in_one_line(crew_of):
    hopeless = crew_of.task("joint seed 1", ["cell", "die"])
    with pytest.raises(UserError) as caught:
        crew_of.run(hopeless, crew_of.task("other", ["hang"]))
    text = str(caught.value)
    assert "\n" not in text
    assert "joint seed 1 lost its worker 3 times (of this try)" in text
    assert "the same command again goes on" in text
    log = next(crew_of.folder.glob("joint*.log"))
    assert str(log) in text
    assert log.read_text().count("the last words") == 3
    assert crew_of.tries("joint seed 1") == 3
    assert crew_of.collected == []
    assert not any(is_alive(event.pid) for event in crew_of.events)


def test_a_worker_that_says_nothing_is_told_by_its_exit_code(crew_of, monkeypatch):
    monkeypatch.setattr(crew, "MAX_TRIES", 1)
    task = Task(
        "mute", ContinualRequest("no plan", str(crew_of.folder / "mute.store"), ReplayConfig()), 1
    )
    with pytest.raises(UserError, match="exit code 3"):
        run_tasks(
            [task],
            1,
            crew_of.folder,
            lambda _task: None,
            crew_of.watch,
            (sys.executable, "-c", "import sys; sys.exit(3)"),
        )


def test_a_refusal_ends_the_study_at_once(crew_of):
    with pytest.raises(UserError, match=r"^there is nothing to fit on$"):
        crew_of.run(
            crew_of.task("refused", ["cell", "refuse"]),
            crew_of.task("other", ["hang"]),
            crew_of.task("waiting", ["cell"]),
        )
    assert crew_of.tries("refused") == 1
    assert crew_of.tries("waiting") == 0
    assert crew_of.collected == []
    assert not any(is_alive(event.pid) for event in crew_of.events)


def test_an_interrupt_of_a_worker_is_one_of_the_study(crew_of):
    with pytest.raises(KeyboardInterrupt):
        crew_of.run(crew_of.task("stopped", ["interrupt"]))
    assert crew_of.tries("stopped") == 1


def test_whatever_ends_the_study_ends_its_workers(crew_of):
    def watch(event):
        crew_of.watch(event)
        if event.kind == "finished":
            raise RuntimeError("no one watches any more")

    with pytest.raises(RuntimeError, match="no one watches"):
        crew_of.run(crew_of.task("a", ["cell", "hang"]), crew_of.task("b", ["hang"]), watch=watch)
    assert len(crew_of.events) >= 2
    assert not any(is_alive(event.pid) for event in crew_of.events)


def test_what_is_no_event_is_passed_over(crew_of):
    crew_of.run(crew_of.task("chatty", ["noise", "cell", "noise"]))
    assert crew_of.kinds("chatty") == ["begun", "finished", "done"]


class TestEnvironment:
    def test_one_thread_whatever_was_given(self):
        found = worker_environment({"OMP_NUM_THREADS": "8", "HOME": "/root", "NPROC": "4"})
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
        assert {found[name] for name in threads} == {"1"}
        assert found["HOME"] == "/root"

    def test_flags_that_were_given_are_kept(self):
        assert worker_environment({})["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
        flags = worker_environment({"XLA_FLAGS": "--xla_dump_to=x"})["XLA_FLAGS"]
        assert flags == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"

    def test_the_gpu_is_not_hoarded_unless_asked(self):
        name = "XLA_PYTHON_CLIENT_PREALLOCATE"
        assert worker_environment({})[name] == "false"
        assert worker_environment({name: "true"})[name] == "true"

    def test_the_worker_finds_this_program(self):
        root = str(Path(perennial.__file__).parents[1])
        assert worker_environment({})["PYTHONPATH"] == root
        given = worker_environment({"PYTHONPATH": "elsewhere"})
        assert given["PYTHONPATH"] == os.pathsep.join([root, "elsewhere"])


class TestWorker:
    """The process behind `perennial.replay.study.continual_worker`."""

    def start(self, folder, config):
        snapshot = folder / "log.duckdb"
        with Store.open(snapshot) as store:
            fill(store, write_log(folder / "log.csv", num_periods=3), num_periods=3)
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(os.environ),
        )
        request = ContinualRequest(str(snapshot), str(folder / "own.duckdb"), config)
        process.stdin.write(request.to_line() + "\n")
        process.stdin.flush()
        return process

    def test_a_request_survives_its_line(self):
        config = ReplayConfig(
            models=(ModelChoice("mvae", {"latent": 4}),), strategy_settings={"ader": {"budget": 3}}
        )
        request = ContinualRequest("a", "b", config)
        assert ContinualRequest.from_line(request.to_line()) == request
        assert "\n" not in request.to_line()

    @pytest.mark.slow
    def test_it_refuses_what_cannot_be_done(self, tmp_path):
        process = self.start(tmp_path, ReplayConfig(strategies=("nonsense",)))
        with process, process.stdout as said:
            (event,) = map(json.loads, said)
            assert process.wait() == REFUSED
        assert event["event"] == "refused"
        assert "unknown strategy 'nonsense'" in event["text"]

    @pytest.mark.slow
    def test_it_does_not_outlive_who_started_it(self, tmp_path):
        # Enough seeds that it would be at work for long.
        config = ReplayConfig(
            strategies=("joint",), models=(ModelChoice("infinite-ae"),), seeds=tuple(range(500))
        )
        process = self.start(tmp_path, config)
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        assert json.loads(process.stdout.readline())["event"] == "started"
        reader.start()
        process.stdin.close()
        assert process.wait() == 1
        reader.join()
        process.stdout.close()
        with Store.open(tmp_path / "own.duckdb") as store:
            store.rows("SELECT count(*) FROM cells")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_worker_is_lost_like_one_that_ends_itself(crew_of):
    def watch(event):
        crew_of.watch(event)
        if event.kind == "finished" and crew_of.kinds("killed").count("lost") == 0:
            os.kill(event.pid, signal.SIGKILL)

    crew_of.run(crew_of.task("killed", ["cell", "hang"], ["cell"]), watch=watch)
    assert crew_of.made("killed") == ["0", "1"]
    assert crew_of.collected == ["killed"]
