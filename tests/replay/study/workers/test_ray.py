"""Studies on a cluster of two Ray nodes: figures are equal to the bit, whatever is lost."""

import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from command_line import call_well
from made_studies import CONFIG, Recorder, assert_counted_once, planted_modules
from paper_toys import write_split
from patience import wait_until
from replays import figures_of

from benchmarks.machines import compare, make_log, make_study, to_markdown, two_nodes
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.study.continual import ContinualStudy, run_continual
from perennial.replay.study.continual_worker import ContinualRequest
from perennial.replay.study.workers.base import ExecutorOptions, Task, TaskBatch
from perennial.replay.study.workers.ray import RayExecutor, open_ray
from perennial.replay.study.workers.ray_cluster import RAY_VARIABLES
from perennial.replay.study.workers.registry import EXECUTORS
from perennial.storage.errors import UserError
from perennial.storage.store import Store

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters are for POSIX"),
    # Ray forks its processes, in which JAX has no part: they are other programs at once.
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
    # Ray leaves its log files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

NUM_PERIODS = 6
STUDY = ContinualStudy(CONFIG, None, (), 1)
NUM_CELLS = 2 * (NUM_PERIODS - 1)
TASKS = ["ader seed 0", "individual seed 0"]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with room for one worker each."""
    # Short, because the sockets of Ray lie below it.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        # Otherwise Ray would put a token into the home of whoever runs the tests.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        for name, value in RAY_VARIABLES.items():
            patch.setenv(name, value)
        # The nodes pass these on to their workers.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("HELD_UNTIL", str(Path(folder) / "release"))
        pytest.importorskip("ray")
        try:
            with two_nodes() as made:
                yield made
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def executor(cluster):
    with open_ray(ExecutorOptions(address=cluster.address), lambda text: None) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(tmp_path_factory, log_store):
    """Figures of local workers, one after the other."""
    path = Path(shutil.copy(log_store, tmp_path_factory.mktemp("local") / "store.duckdb"))
    runs = run_continual(path, STUDY, on_event=lambda event: None)
    return figures(path, runs.main)


def figures(path: Path, run_id: int) -> dict:
    """Read all that must be equal on any machine, after a check of the number of cells."""
    assert_counted_once(path, NUM_CELLS, num_models=1)
    with Store.open(path) as store:
        made = figures_of(store, run_id)
    assert len(made) == NUM_CELLS
    return made


def node_of(cluster, pid):
    """Return the node that a worker's process belongs to."""
    parents = {one.pid for one in psutil.Process(pid).parents()}
    (node,) = [
        node
        for node in cluster.list_all_nodes()
        if node.all_processes["raylet"][0].process.pid in parents
    ]
    return node


def lose_node(cluster, node):
    """Kill all processes of a node, as the loss of a machine does."""
    processes = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class HeldExecutor(RayExecutor):
    """Executor whose workers pause after their first cell until the file HELD_UNTIL exists."""

    def run_tasks(self, batch):
        super().run_tasks(replace(batch, worker="held_worker"))


def test_an_interrupted_study_leaves_no_worker_and_resumes(executor, path, expected):
    events = Recorder()

    def interrupt(event):
        events(event)
        if event.kind == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_continual(path, STUDY, on_event=interrupt, executor=executor)
    wait_until(lambda: not any(psutil.pid_exists(event.pid) for event in events))
    with Store.open(path) as store:
        assert store.rows("SELECT count(*) FROM cells") == [(NUM_PERIODS - 1,)]
    again = Recorder()
    runs = run_continual(path, STUDY, on_event=again, executor=executor)
    assert sorted(events.names("done") + again.names("done")) == TASKS
    assert figures(path, runs.main) == expected


def test_a_replay_on_a_cluster_has_the_figures_of_one_process(cluster, log_store, tmp_path):
    options = (
        *("replay", log_store.with_suffix(".csv"), "--periods", "3", "--model", "infinite-ae"),
        *("--json", "--set", "infinite-ae.reg=5", "--strategy", "individual,joint"),
    )
    here = call_well(*options, "--workers", "1", "--store", tmp_path / "here.duckdb")
    there = call_well(
        *(*options, "--engine", "ray", "--address", cluster.address),
        *("--store", tmp_path / "there.duckdb"),
    )
    wanted, found = json.loads(here.stdout), json.loads(there.stdout)
    for part in ("results", "means"):
        assert found[part] == wanted[part] != []
    lines = there.stderr.splitlines()
    assert f"joining the Ray cluster at {cluster.address}" in lines
    assert "Ray: 2 machines with room for 2 workers" in lines
    assert "joint seed 0: done" in lines


def test_a_study_on_a_split_has_the_figures_of_one_process(cluster, tmp_path):
    split = write_split(tmp_path / "split.parquet")
    options = (
        *("study", "sample-efficiency", "--split", split, "--seed", "0", "--users", "10"),
        *("--sampler", "user-rns", "--set", "infinite-ae.reg=5", "--json"),
    )
    here = call_well(*options, "--workers", "1", "-o", tmp_path / "here")
    there = call_well(
        *(*options, "--engine", "ray", "--address", cluster.address),
        *("-o", tmp_path / "there", "--workers", "2"),
    )
    wanted, found = json.loads(here.stdout), json.loads(there.stdout)
    assert [cell["values"] for cell in found["cells"]] == [
        cell["values"] for cell in wanted["cells"]
    ]
    assert len(found["cells"]) == 2
    # The order of tasks on two nodes is open; each is reported once, and counted.
    done = re.findall(r"^(.+): done \((\d) of 3\)$", there.stderr, re.MULTILINE)
    assert sorted(name for name, _ in done) == [
        "all-users infinite-ae seed 0",
        "user-rns 10 infinite-ae seed 0",
        "user-rns 10 seed 0",
    ]
    assert [count for _, count in done] == ["1", "2", "3"]
    files = {one.name for one in (tmp_path / "there" / "cells").iterdir()}
    assert files == {one.name for one in (tmp_path / "here" / "cells").iterdir()}
    assert "begun" not in call_well(*options, "--workers", "1", "-o", tmp_path / "there").stderr


def test_a_sample_of_the_benchmark(cluster, tmp_path):
    log = make_log(tmp_path / "log.duckdb", num_rows=1_200, num_periods=3)
    found = compare(log, make_study([0]), cluster.address)
    assert [one.name for one in found] == ["one local worker", "two local workers", "two Ray nodes"]
    # Two strategies, two periods, and at least HR and nDCG at two places.
    assert len(found[0].figures) >= 4 * 4
    assert found[2].figures == found[0].figures
    lines = to_markdown(found).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("| one local worker | ")
    assert lines[2].endswith(" | 1.00 |")


class TestRefusals:
    def test_other_code_on_the_machines(self, executor, path, monkeypatch):
        own = executor.versions
        monkeypatch.setattr(RayExecutor, "versions", {**own, "code": "another"})
        with pytest.raises(UserError, match=rf"has code {own['code']}, this machine has code ano"):
            run_continual(path, STUDY, on_event=Recorder(), executor=executor)
        with Store.open(path) as store:
            assert store.rows("SELECT count(*) FROM cells") == [(0,)]

    def test_a_task_that_loses_three_workers_ends_the_study_in_one_line(self, executor, tmp_path):
        (tmp_path / "log.duckdb").write_bytes(b"no store")
        request = ContinualRequest(str(tmp_path / "log.duckdb"), str(tmp_path / "own"), CONFIG)
        events = Recorder()
        # A module that is no worker: it has no `main`.
        tasks = [Task("joint seed 1", request, 1)]
        with pytest.raises(UserError) as caught:
            executor.run_tasks(TaskBatch(tasks, "keyword", tmp_path, lambda task: None, events))
        text = str(caught.value)
        assert "\n" not in text
        assert "joint seed 1 lost its worker 3 times (AttributeError" in text
        assert events.names("attempt") == ["joint seed 1"] * 3
        assert "Traceback" in (tmp_path / "joint-seed-1.log").read_text()


@pytest.mark.usefixtures("cluster")
def test_a_ray_of_this_machine_alone_executes_no_modules_of_the_user(path, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    messages, events = [], Recorder()
    config = ReplayConfig(strategies=("individual",), models=(ModelChoice("pop"),))
    options = ExecutorOptions(workers=1)
    with (
        planted_modules(tmp_path, monkeypatch),
        EXECUTORS.load("ray")(options, messages.append) as opened,
    ):
        assert (opened.num_workers, opened.workers_per_machine) == (1, 1)
        run_continual(path, ContinualStudy(config, None), on_event=events, executor=opened)
    assert messages == ["starting Ray on this machine", "Ray: 1 machines with room for 1 workers"]
    assert (events.names("done"), events.names("lost")) == (["individual seed 0"], [])


# The last one, since it leaves the cluster with one node.
def test_a_killed_node_loses_no_cell_and_counts_none_twice(cluster, executor, path, expected):
    events, nodes, opened, held = Recorder(), {}, set(), []
    release = Path(os.environ["HELD_UNTIL"])

    def kill(event):
        events(event)
        if release.exists():
            return
        if event.kind == "started":
            nodes[event.pid] = node_of(cluster, event.pid)
            opened.update(Path(one.path) for one in psutil.Process(event.pid).open_files())
        elif event.kind == "finished":
            held.append(event)
        if len(held) == 2:
            (node,) = (node for node in nodes.values() if node is not cluster.head_node)
            lose_node(cluster, node)
            release.touch()

    assert (executor.num_workers, executor.workers_per_machine) == (2, 1)
    runs = run_continual(path, STUDY, on_event=kill, executor=HeldExecutor(**vars(executor)))
    assert figures(path, runs.main) == expected
    (lost,) = [event.task.name for event in held if nodes[event.pid] is not cluster.head_node]
    assert events.names("lost") == [lost]
    assert sorted(events.names("attempt")) == sorted([*TASKS, lost])
    assert sorted(events.names("done")) == TASKS
    assert len(events.names("finished")) == NUM_CELLS + 1, "the one that was lost is made again"
    assert {one.name for one in opened} >= {"own.duckdb"}, "a copy of the log"
    assert not any(one.is_relative_to(path.parent) for one in opened)
