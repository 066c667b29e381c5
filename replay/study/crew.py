"""A few worker processes that share out tasks; one that dies has its task taken up again."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from replay.study.errand import Errand
from replay.study.serving import REFUSED
from storage.errors import UserError

Json = Any
"""What `json.loads` gives."""

COMMAND = (sys.executable, "-m", "replay.study.worker")
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


class Request(Protocol):
    """What a worker is to do."""

    def to_line(self) -> str:
        """One line of JSON."""
        ...

    def away(self) -> Errand:
        """The same for a machine that sees none of our files."""
        ...


@dataclass(frozen=True)
class Task:
    """A part of a study that runs by itself.

    Attributes:
        name: for people; no two tasks of a study have the same.
        request: what the worker is told.
        num_cells: that it has to make.
    """

    name: str
    request: Request
    num_cells: int


@dataclass(frozen=True)
class TaskEvent:
    """Something that a worker said, or that became of it.

    Attributes:
        task: which one.
        pid: of the worker's process.
        kind: `begun`; `started`, `stage`, `finished` of its cells; `lost`, when it died and the
            task is taken up again; `waiting`, when there is no machine to begin it on; `done`.
        details: what the worker sent along; `where`, of one that worked on another machine.
    """

    task: Task
    pid: int
    kind: str
    details: Mapping[str, Json] = field(default_factory=dict)


Watch = Callable[[TaskEvent], None]


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
    """The environment of a worker: one thread of computation, and no hoarding of a GPU's memory."""
    flags = f"{given.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **given, **_ONE_THREAD, "XLA_FLAGS": flags}
    # Where this program lies as a source tree, the worker must find it too.
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *given.get("PYTHONPATH", "").split(os.pathsep)]
    return own | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


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
