"""Worker processes on this machine."""

import queue
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perennial.replay.machine import default_workers
from perennial.replay.study.workers.base import (
    MAX_ATTEMPTS,
    ExecutorOptions,
    Task,
    TaskBatch,
    TaskEvent,
)
from perennial.replay.study.workers.process import (
    REFUSED,
    WorkerEvents,
    WorkerProcess,
    log_path,
    too_many_attempts,
)
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions


@dataclass(frozen=True)
class LocalExecutor:
    """Runs tasks in processes of this machine."""

    num_workers: int

    @property
    def workers_per_machine(self) -> int:
        """All of them."""
        return self.num_workers

    @property
    def versions(self) -> Mapping[str, str]:
        """Those of this process."""
        return read_versions()

    def run_tasks(self, batch: TaskBatch) -> None:
        """Implement `Executor.run_tasks`; a retried task resumes from what it had made."""
        pending = deque((task, 1) for task in batch.tasks)
        running: dict[WorkerProcess, tuple[Task, int]] = {}
        events: WorkerEvents = queue.Queue()
        command = (sys.executable, "-m", batch.worker)
        try:
            while pending or running:
                while pending and len(running) < self.num_workers:
                    task, attempt = pending.popleft()
                    line = f"{task.request.to_line()}\n"
                    process = WorkerProcess(command, line, log_path(batch.folder, task), events)
                    running[process] = task, attempt
                    batch.on_event(TaskEvent(task, process.pid, "attempt"))
                process, event = events.get()
                task, attempt = running[process]
                if event is not None:
                    batch.on_event(TaskEvent(task, process.pid, event.pop("event"), event))
                    continue
                del running[process]
                if process.wait() == 0:
                    batch.collect(task)
                    batch.on_event(TaskEvent(task, process.pid, "done"))
                else:
                    _check_retry(process, task, attempt, log_path(batch.folder, task))
                    pending.appendleft((task, attempt + 1))
                    batch.on_event(TaskEvent(task, process.pid, "lost"))
        finally:
            for process in running:
                process.kill()


@contextmanager
def open_local(
    options: ExecutorOptions, progress: Callable[[str], None]
) -> Iterator[LocalExecutor]:
    """Make an executor with one worker per core, or one where there is a GPU, by default."""
    yield LocalExecutor(options.workers or default_workers())


def _check_retry(process: WorkerProcess, task: Task, attempt: int, log: Path) -> None:
    """Check that a task whose worker has failed may be retried.

    Raises:
        UserError: it was refused, or this was the last attempt.
        KeyboardInterrupt: the worker was interrupted.
    """
    code = process.wait()
    if code == REFUSED:
        raise UserError(process.refusal or f"{task.name} was refused; see {log}")
    if code == 130:
        raise KeyboardInterrupt
    if attempt >= MAX_ATTEMPTS:
        raise too_many_attempts(task, process.describe_failure(), log)
