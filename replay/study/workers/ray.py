"""Workers on the machines of a Ray cluster.

Ray distributes the tasks, and starts one again elsewhere when its machine is lost. A worker has no
access to this machine's disk: its inputs are put into Ray's object store once, from where each
machine gets them once, and its outputs return the same way and are written here.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perennial.replay.study.workers.base import (
    MAX_ATTEMPTS,
    ExecutorOptions,
    Task,
    TaskBatch,
    TaskEvent,
    TaskFiles,
)
from perennial.replay.study.workers.local import log_path, too_many_attempts
from perennial.replay.study.workers.ray_cluster import count_slots, join_cluster
from perennial.replay.study.workers.ray_task import (
    EventQueue,
    LostWorker,
    RemoteEvent,
    RemoteResult,
    RemoteTask,
    run_remote_task,
)
from perennial.storage.atomic import write_synced
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions

_POLL_SECONDS = 0.2
"""Time between checks for events."""

_DRAIN_SECONDS = 60.0
"""Time to wait for the last events of a finished task; a restarted queue answers sooner."""

_IDLE_SECONDS = 30.0
"""Time without any worker after which a message reports that Ray has no free resources."""

_CANCEL_SECONDS = 10.0
"""Time for cancelled workers to clean up before they are killed."""


@dataclass(frozen=True)
class RayExecutor:
    """Runs tasks on a cluster that this process has joined."""

    num_workers: int
    workers_per_machine: int
    gpus_per_cell: float = 0.0

    @property
    def versions(self) -> Mapping[str, str]:
        """Those of this process, but for the device; workers that differ refuse."""
        return read_versions() | {"device": "gpu" if self.gpus_per_cell else "cpu"}

    def run_tasks(self, batch: TaskBatch) -> None:
        """Implement `Executor.run_tasks`; a retried task starts anew, on a machine that is left."""
        submitted = _SubmittedTasks(self, batch)
        pending = deque(batch.tasks)
        try:
            while pending or submitted.running:
                while pending and len(submitted.running) < self.num_workers:
                    submitted.submit(pending.popleft())
                submitted.poll()
        finally:
            submitted.cancel()


@contextmanager
def open_ray(options: ExecutorOptions, progress: Callable[[str], None]) -> Iterator[RayExecutor]:
    """Join a cluster, or start Ray on this machine alone; by default it is used to capacity."""
    with join_cluster(options.address, options.workers, progress) as ray:
        slots = count_slots(ray.nodes(), options.gpus_per_cell)
        num_workers = options.workers or max(1, sum(slots))
        workers_per_machine = min(num_workers, max(slots, default=num_workers))
        progress(f"Ray: {len(slots)} machines with room for {sum(slots)} workers")
        yield RayExecutor(num_workers, workers_per_machine, options.gpus_per_cell)


@dataclass
class _Running:
    """A task that was submitted to Ray, and the event of each attempt to run it."""

    task: Task
    files: TaskFiles
    attempts: list[RemoteEvent] = field(default_factory=list)


class _SubmittedTasks:
    """Tasks on a cluster by reference of their results, and their events."""

    def __init__(self, executor: RayExecutor, batch: TaskBatch) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.running: dict[Any, _Running] = {}
        self._executor, self._batch, self._on_event = executor, batch, batch.on_event
        self._references: dict[Path, Any] = {}
        # Not a soft affinity: with it Ray puts an actor that needs no core on any machine, and the
        # events are lost with that machine.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(EventQueue)
        self._queue = actor.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._drained = self._queue.drain.remote()
        self._run = ray.remote(run_remote_task).options(
            num_cpus=1,
            num_gpus=executor.gpus_per_cell,
            max_retries=MAX_ATTEMPTS - 1,
            retry_exceptions=[LostWorker],
            scheduling_strategy="SPREAD",
        )
        self._last_change = time.monotonic()

    def submit(self, task: Task) -> None:
        files = task.request.task_files()
        remote = RemoteTask(
            name=task.name,
            worker=self._batch.worker,
            line=files.line,
            versions=self._executor.versions,
            inputs={name: self._put(path) for name, path in files.inputs.items()},
            outputs=tuple(files.outputs),
            on_cpu=not self._executor.gpus_per_cell,
        )
        self.running[self._run.remote(remote, self._queue)] = _Running(task, files)

    def poll(self) -> None:
        """Wait a moment, report events, and collect finished tasks."""
        import ray

        done, _ = ray.wait(list(self.running), num_returns=1, timeout=_POLL_SECONDS)
        for reference in done:
            # All its events are in the queue, but the call that is under way may have been answered
            # before they were.
            for _ in range(2):
                self._report_events(patience=_DRAIN_SECONDS)
            self._finish(self.running[reference], reference)
            del self.running[reference]
        self._report_events()
        self._report_idleness()

    def cancel(self) -> None:
        import ray

        for force, patience in ((False, _CANCEL_SECONDS), (True, 0.0)):
            for reference in self.running:
                with suppress(ray.exceptions.RayError, ValueError):
                    ray.cancel(reference, force=force)
            if self.running:
                left = list(self.running)
                _, left = ray.wait(left, num_returns=len(left), timeout=patience)
                self.running = {reference: self.running[reference] for reference in left}
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(self._queue)

    def _put(self, path: Path) -> Any:
        """Put a file into Ray's object store, once."""
        import ray

        if path not in self._references:
            # As an array it is neither pickled nor copied by its readers.
            self._references[path] = ray.put(np.fromfile(path, np.uint8))
        return self._references[path]

    def _report_events(self, patience: float = 0.0) -> None:
        """Report the events in the queue, if it answers within `patience` seconds."""
        import ray

        ready, _ = ray.wait([self._drained], timeout=patience)
        if not ready:
            return
        events: list[RemoteEvent] = []
        # The queue's process may be lost; Ray starts it again.
        with suppress(ray.exceptions.RayError):
            events = ray.get(self._drained)
        self._drained = self._queue.drain.remote()
        by_name = {one.task.name: one for one in self.running.values()}
        for event in events:
            if event.task in by_name:
                self._report(by_name[event.task], event)

    def _report(self, running: _Running, event: RemoteEvent) -> None:
        self._last_change = time.monotonic()
        attempts = running.attempts
        if event.kind == "attempt":
            if attempts:
                where = {"where": attempts[-1].details.get("where", "")}
                self._on_event(TaskEvent(running.task, attempts[-1].pid, "lost", where))
            attempts.append(event)
        elif not attempts or attempts[-1].attempt != event.attempt:
            return  # From a worker that is lost, or the queue was lost since the attempt began.
        self._on_event(TaskEvent(running.task, event.pid, event.kind, event.details))

    def _finish(self, running: _Running, reference: Any) -> None:
        """Write the outputs of a finished task and collect it; raise `UserError` if it failed."""
        import ray

        task = running.task
        try:
            result: RemoteResult = ray.get(reference)
        except LostWorker as error:
            raise self._give_up(task, str(error)) from error
        except ray.exceptions.RayTaskError as error:
            if "No module named" in str(error):
                raise UserError(
                    f"{task.name}: a machine of the cluster lacks Perennial or a library of it; "
                    "start all machines from the same image or wheel"
                ) from error
            raise
        except ray.exceptions.RayError as error:
            raise self._give_up(task, str(error) or type(error).__name__) from error
        if result.refusal:
            raise UserError(result.refusal)
        for name, content in result.files.items():
            path = running.files.destination(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(path, content)
        self._batch.collect(task)
        pid = running.attempts[-1].pid if running.attempts else 0
        self._on_event(TaskEvent(task, pid, "done"))
        self._last_change = time.monotonic()

    def _give_up(self, task: Task, failure: str) -> UserError:
        """Log the failure of the last attempt and return its error."""
        log = log_path(self._batch.folder, task)
        log.write_text(f"{failure}\n")
        return too_many_attempts(task, failure, log)

    def _report_idleness(self) -> None:
        """Report from time to time that Ray finds no machine for any of the tasks."""
        working = any(one.attempts for one in self.running.values())
        idle = time.monotonic() - self._last_change
        if self.running and not working and idle >= _IDLE_SECONDS:
            self._last_change = time.monotonic()
            first = next(iter(self.running.values()))
            self._on_event(TaskEvent(first.task, 0, "waiting"))
