"""A few worker processes that share out tasks; one that dies has its task taken up again."""

import json
import os
import queue
import site
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import perennial
from perennial.replay.machine import default_workers
from perennial.replay.study.workers.base import ExecutorOptions, Task, TaskEvent, Watch
from perennial.replay.study.workers.process import REFUSED
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions

COMMAND = (sys.executable, "-m", "perennial.replay.study.continual_worker")
"""Starts a worker; see there for what it reads and says."""

MAX_TRIES = 3
"""How often a task is tried that keeps losing its worker."""

_ONE_THREAD = {
    # A figure's last bits depend on how sums are split among threads. With one thread a worker
    # they are the same for any number of workers, and the workers share the cores evenly.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",
}
_XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false"


@dataclass
class _Worker:
    """A process at work.

    Attributes:
        refusal: why the task cannot be done, if the worker said so.
    """

    task: Task
    process: "subprocess.Popen[str]"
    log: Path
    tries: int
    refusal: str = ""


def run_tasks(
    tasks: Sequence[Task],
    num_workers: int,
    folder: Path,
    collect: Callable[[Task], None],
    watch: Watch,
    command: Sequence[str] = COMMAND,
) -> None:
    """Work through tasks in several processes.

    Args:
        tasks: taken in this order; one that is taken up again goes on from what it had made.
        num_workers: processes at a time.
        folder: takes what workers write to standard error.
        collect: called with each task that is done, in this process.
        watch: told what happens, in this process.
        command: starts a worker.

    Raises:
        UserError: a task cannot be done, or lost its worker three times; other workers are ended.
    """
    waiting = deque((task, 1) for task in tasks)
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
    at_work: dict[int, _Worker] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < num_workers:
                worker = _start(*waiting.popleft(), folder, lines, command)
                at_work[worker.process.pid] = worker
                watch(TaskEvent(worker.task, worker.process.pid, "begun"))
            pid, line = lines.get()
            worker = at_work[pid]
            if line is not None:
                _heed(worker, line, watch)
                continue
            del at_work[pid]
            if _end(worker.process) == 0:
                collect(worker.task)
                watch(TaskEvent(worker.task, pid, "done"))
            else:
                waiting.appendleft((worker.task, _next_try(worker)))
                watch(TaskEvent(worker.task, pid, "lost"))
    finally:
        for worker in at_work.values():
            worker.process.kill()
            _end(worker.process)


def worker_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a worker: one thread of computation, and this very package.

    The worker does not look for modules in the current folder: a user's own `random.py` there would
    be run in place of the library's.
    """
    flags = f"{given.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **given, **_ONE_THREAD, "XLA_FLAGS": flags}
    root = str(Path(perennial.__file__).parents[1])
    if root in map(str, (*site.getsitepackages(), site.getusersitepackages())):
        paths = []
    else:
        paths = [root]
    paths += [path for path in given.get("PYTHONPATH", "").split(os.pathsep) if path]
    return own | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def _start(
    task: Task,
    tries: int,
    folder: Path,
    lines: "queue.Queue[tuple[int, str | None]]",
    command: Sequence[str],
) -> _Worker:
    log = folder / f"{task.name.replace(' ', '-')}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=worker_environment(os.environ),
        )
    assert process.stdin is not None  # noqa: S101
    with suppress(BrokenPipeError):
        process.stdin.write(task.request.to_line() + "\n")
        process.stdin.flush()

    def read() -> None:
        assert process.stdout is not None  # noqa: S101
        with process.stdout as said:
            for line in said:
                lines.put((process.pid, line))
        lines.put((process.pid, None))

    threading.Thread(target=read, daemon=True).start()
    return _Worker(task, process, log, tries)


def _end(process: "subprocess.Popen[str]") -> int:
    """Wait for a process that is ending; its exit code."""
    assert process.stdin is not None  # noqa: S101
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process.wait()


def _heed(worker: _Worker, line: str, watch: Watch) -> None:
    """Pass on what a worker says."""
    try:
        said = json.loads(line)
        kind = said.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        return  # A library's own words.
    if kind == "refused":
        worker.refusal = str(said["text"])
    else:
        watch(TaskEvent(worker.task, worker.process.pid, kind, said))


def _next_try(worker: _Worker) -> int:
    """The number of the next try.

    Raises:
        UserError: there is none.
    """
    code = worker.process.returncode
    if code == REFUSED:
        raise UserError(worker.refusal or f"{worker.task.name} was refused; see {worker.log}")
    if code == 130:
        raise KeyboardInterrupt
    if worker.tries >= MAX_TRIES:
        words = worker.log.read_text().strip().splitlines()
        last = words[-1].strip() if words else f"exit code {code}"
        raise UserError(
            f"{worker.task.name} lost its worker {MAX_TRIES} times ({last}); what was made is "
            f"kept, {worker.log} has the rest; the same command again goes on"
        )
    return worker.tries + 1


@dataclass(frozen=True)
class LocalExecutor:
    """A crew of processes.

    Attributes:
        num_workers: processes at a time.
    """

    num_workers: int

    @property
    def num_beside(self) -> int:
        """All of them."""
        return self.num_workers

    @property
    def versions(self) -> Mapping[str, str]:
        """This process's own."""
        return read_versions()

    def run_tasks(
        self,
        tasks: Sequence[Task],
        worker: str,
        folder: Path,
        collect: Callable[[Task], None],
        watch: Watch,
    ) -> None:
        """As `Engine.run_tasks`; a lost task goes on from what it had made."""
        command = (sys.executable, "-m", worker)
        run_tasks(tasks, self.num_workers, folder, collect, watch, command)


@contextmanager
def open_local(request: ExecutorOptions, say: Callable[[str], None]) -> Iterator[LocalExecutor]:
    """One worker per core unless told, one where there is a GPU."""
    yield LocalExecutor(request.workers or default_workers())
