"""Workers on the machines of a Ray cluster.

Ray shares the tasks out, and begins one again elsewhere where its machine is lost. A worker sees
nothing of this machine's disk: what it reads is put into Ray's object store once, from where each
machine gets it once, and what it made comes back the same way and is written here.
"""

import os
import re
import socket
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perennial.replay.study.workers.base import (
    ExecutorOptions,
    Task,
    TaskEvent,
    TaskFiles,
    Watch,
    place_here,
)
from perennial.replay.study.workers.local import MAX_TRIES
from perennial.replay.study.workers.ray_task import EventQueue, Job, LostWorker, Outcome, do_job
from perennial.storage.atomic import write_synced
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions

ADDRESS_VARIABLE = "RAY_ADDRESS"
"""Names the cluster where nothing else does, as for Ray's own commands."""

_CONNECT_PATIENCE = 10.0
"""Seconds for a machine to answer; Ray itself would try for a minute or more."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/\s]+?):(\d{1,5})")

OWN_WAYS = {
    # A driver that `uv run` started would have every worker installed anew from a copy of the
    # working folder, and no package index can be reached from many clusters.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # GPUs are given out by Ray; what computes on CPUs must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""What is set in the environment, where nothing else is, before Ray is imported."""


@contextmanager
def join_cluster(
    address: str | None, workers: int | None, say: Callable[[str], None]
) -> Iterator[Any]:
    """Ray, connected; what was started for it is stopped at the end.

    Args:
        address: `host:port`, `ray://host:port`, `auto`; `None` for the one in `RAY_ADDRESS`, or
            where there is none for a Ray of this machine alone.
        workers: that a Ray of this machine alone has room for; `None` for one per core.
        say: told what takes long.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE)
    given: dict[str, Any] = {"address": address}
    if address is None:
        say("starting Ray on this machine")
        given = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        say(f"joining the Ray cluster at {address}")
        _check_answers(address)
    ray = _import_ray()
    try:
        with warnings.catch_warnings():
            # JAX warns of it: Ray's own processes are forked, and replaced by others at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            ray.init(**given, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises plain ones too.
        if address is None:
            raise UserError(f"Ray cannot be started here: {_first_line(error)}") from error
        raise UserError(
            f"no Ray at {address}: {_first_line(error)}; a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"
        ) from error
    try:
        # Ray prints news of machines that are lost to stdout, where results are to stand alone.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def count_places(nodes: Sequence[Mapping[str, Any]], gpus: float) -> list[int]:
    """How many workers each machine has room for, those with any.

    Args:
        nodes: what `ray.nodes` gives.
        gpus: that a worker needs, beside one core.
    """
    found = []
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        places = int(resources.get("CPU", 0))
        if gpus:
            places = min(places, int(resources.get("GPU", 0) / gpus))
        found.append(places)
    return [places for places in found if places]


def _import_ray() -> Any:
    for name, value in OWN_WAYS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray, which is not installed: pip install 'perennial[ray]'"
        ) from error
    return ray


def _check_answers(address: str) -> None:
    """Find out quickly whether anything is there.

    Raises:
        UserError: it is not, or that is no address.
    """
    if address in ("auto", "local"):
        return
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        raise UserError(
            f"'{address}' is no address of a Ray cluster; give host:6379, ray://host:10001 or auto"
        )
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), _CONNECT_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray at {address}: {getattr(error, 'strerror', None) or error}; `ray status` on "
            "the head shows whether it runs"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


_HEAR_EVERY = 0.2
"""Seconds between looks at what workers said."""

_LAST_WORDS = 2.0
"""Seconds to hear what the worker of a finished task said last."""

_ALONE_FOR = 30.0
"""Seconds without any worker before a person is told that Ray finds no room."""

_STOP_PATIENCE = 10.0
"""Seconds that cancelled workers have to clear up before they are killed."""


@dataclass(frozen=True)
class RayExecutor:
    """Workers of a cluster that this process has joined.

    Attributes:
        num_workers: at a time.
        num_beside: on one machine at a time, at most.
        gpus_per_cell: that each gets.
    """

    num_workers: int
    num_beside: int
    gpus_per_cell: float = 0.0

    @property
    def versions(self) -> Mapping[str, str]:
        """This process's own, but for the device; workers that differ refuse."""
        return read_versions() | {"device": "gpu" if self.gpus_per_cell else "cpu"}

    def run_tasks(
        self,
        tasks: Sequence[Task],
        worker: str,
        folder: Path,
        collect: Callable[[Task], None],
        watch: Watch,
    ) -> None:
        """As `Engine.run_tasks`; a lost task begins anew, on a machine that is there."""
        crew = _Crew(self, worker, folder, collect, watch)
        waiting = deque(tasks)
        try:
            while waiting or crew.at_work:
                while waiting and len(crew.at_work) < self.num_workers:
                    crew.start(waiting.popleft())
                crew.step()
        finally:
            crew.stop()


@contextmanager
def open_ray(request: ExecutorOptions, say: Callable[[str], None]) -> Iterator[RayExecutor]:
    """Join a cluster, or start Ray on this machine alone; as many workers as it has room for."""
    with join_cluster(request.address, request.workers, say) as ray:
        places = count_places(ray.nodes(), request.gpus_per_cell)
        num_workers = request.workers or max(1, sum(places))
        num_beside = min(num_workers, max(places, default=num_workers))
        say(f"Ray: {len(places)} machines with room for {sum(places)} workers")
        yield RayExecutor(num_workers, num_beside, request.gpus_per_cell)


@dataclass
class _Try:
    """A task as a worker has begun it."""

    attempt: str
    pid: int
    where: str


@dataclass
class _AtWork:
    """A task that Ray has."""

    task: Task
    errand: TaskFiles
    tries: list[_Try] = field(default_factory=list)


class _Crew:
    """The tasks of a cluster, and what became of them."""

    def __init__(
        self,
        engine: RayExecutor,
        worker: str,
        folder: Path,
        collect: Callable[[Task], None],
        watch: Watch,
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.at_work: dict[Any, _AtWork] = {}
        self._engine, self._worker, self._folder = engine, worker, folder
        self._collect, self._watch = collect, watch
        self._given: dict[Path, Any] = {}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        hearing: Any = ray.remote(EventQueue)
        self._ears = hearing.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._heard = self._ears.tell.remote()
        self._do = ray.remote(do_job).options(
            num_cpus=1,
            num_gpus=engine.gpus_per_cell,
            max_retries=MAX_TRIES - 1,
            retry_exceptions=[LostWorker],
            scheduling_strategy="SPREAD",
        )
        self._last_change = time.monotonic()

    def start(self, task: Task) -> None:
        """Hand a task to Ray."""
        errand = task.request.away()
        job = Job(
            name=task.name,
            worker=self._worker,
            line=errand.line,
            versions=self._engine.versions,
            takes={place: self._give(path) for place, path in errand.takes.items()},
            brings=tuple(errand.brings),
            on_cpu=not self._engine.gpus_per_cell,
        )
        self.at_work[self._do.remote(job, self._ears)] = _AtWork(task, errand)

    def step(self) -> None:
        """Wait a moment, tell what was heard, take over what is done."""
        import ray

        done, _ = ray.wait(list(self.at_work), num_returns=1, timeout=_HEAR_EVERY)
        for reference in done:
            # It said all before it was done; otherwise nothing may keep this waiting.
            self._hear(patience=_LAST_WORDS)
            self._finish(self.at_work[reference], reference)
            del self.at_work[reference]
        self._hear()
        self._tell_if_alone()

    def stop(self) -> None:
        """End what is still at work."""
        import ray

        for force, patience in ((False, _STOP_PATIENCE), (True, 0.0)):
            for reference in self.at_work:
                with suppress(ray.exceptions.RayError, ValueError):
                    ray.cancel(reference, force=force)
            if self.at_work:
                left = list(self.at_work)
                _, left = ray.wait(left, num_returns=len(left), timeout=patience)
                self.at_work = {reference: self.at_work[reference] for reference in left}
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(self._ears)

    def _give(self, path: Path) -> Any:
        """A file in Ray's object store, put there once."""
        import ray

        if path not in self._given:
            # As an array it is neither pickled nor copied where it is read.
            self._given[path] = ray.put(np.fromfile(path, np.uint8))
        return self._given[path]

    def _hear(self, patience: float = 0.0) -> None:
        """Tell what workers said, if whoever hears them answers within so many seconds."""
        import ray

        ready, _ = ray.wait([self._heard], timeout=patience)
        if not ready:
            return
        try:
            heard = ray.get(self._heard)
        except ray.exceptions.RayError:
            heard = []  # Lost with its machine; Ray starts it again elsewhere.
        self._heard = self._ears.tell.remote()
        by_name = {one.task.name: one for one in self.at_work.values()}
        for name, attempt, pid, kind, details in heard:
            if name in by_name:
                self._heed(
                    by_name[name], _Try(attempt, pid, details.get("where", "")), kind, details
                )

    def _heed(self, one: _AtWork, told: _Try, kind: str, details: Mapping[str, Any]) -> None:
        self._last_change = time.monotonic()
        if kind == "begun":
            if one.tries:
                self._tell_lost(one)
            one.tries.append(told)
        elif not one.tries or one.tries[-1].attempt != told.attempt:
            return  # The last words of one that is lost, or who listens was lost meanwhile.
        self._watch(TaskEvent(one.task, told.pid, kind, details))

    def _tell_lost(self, one: _AtWork) -> None:
        last = one.tries[-1]
        self._watch(TaskEvent(one.task, last.pid, "lost", {"where": last.where}))

    def _finish(self, one: _AtWork, reference: Any) -> None:
        """Write what a task made, and have it collected.

        Raises:
            UserError: it cannot be done.
        """
        import ray

        try:
            outcome: Outcome = ray.get(reference)
        except LostWorker as error:
            raise self._given_up(one, str(error)) from error
        except ray.exceptions.RayTaskError as error:
            if "No module named" in str(error):
                raise UserError(
                    f"{one.task.name}: a machine of the cluster lacks Perennial or a library of "
                    "it; start all machines from the same image or wheel"
                ) from error
            raise
        except ray.exceptions.RayError as error:
            raise self._given_up(one, str(error) or type(error).__name__) from error
        if outcome.refusal:
            raise UserError(outcome.refusal)
        for place, content in outcome.brought.items():
            path = place_here(one.errand, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(path, content)
        self._collect(one.task)
        pid = one.tries[-1].pid if one.tries else 0
        self._watch(TaskEvent(one.task, pid, "done"))
        self._last_change = time.monotonic()

    def _given_up(self, one: _AtWork, words: str) -> UserError:
        """The end of a task that keeps losing its worker."""
        log = self._folder / f"{one.task.name.replace(' ', '-')}.log"
        log.write_text(f"{words}\n")
        last = words.strip().splitlines()[-1].strip()
        return UserError(
            f"{one.task.name} lost its worker {MAX_TRIES} times ({last}); what was finished is "
            f"kept, {log} has the rest; the same command again goes on"
        )

    def _tell_if_alone(self) -> None:
        """Say once in a while that Ray finds no machine, where nothing is going on."""
        begun = any(one.tries for one in self.at_work.values())
        if begun or not self.at_work or time.monotonic() - self._last_change < _ALONE_FOR:
            return
        self._last_change = time.monotonic()
        first = next(iter(self.at_work.values()))
        self._watch(TaskEvent(first.task, 0, "waiting"))
