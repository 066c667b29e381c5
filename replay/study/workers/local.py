"""Worker processes on this machine, from the side that starts them and from their own.

A worker reads its task from standard input and writes events, one JSON object a line, to standard
output. It ends when its input does, so that it does not outlive the process that started it.
"""

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
from perennial.replay.study.workers.base import (
    MAX_ATTEMPTS,
    ExecutorOptions,
    Task,
    TaskBatch,
    TaskEvent,
)
from perennial.storage.base import Json
from perennial.storage.compile_cache import compile_variables
from perennial.storage.errors import UserError
from perennial.storage.results.versions import read_versions

REFUSED = 2
"""Exit code of a worker whose task needs a change by the user; it is not retried."""

_ONE_THREAD = {
    # The last bits of a figure depend on how sums are split among threads. With one thread each
    # they are equal for any number of workers, and the workers share the cores evenly.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",
}
_XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false"
_MAX_LINES = 100


class WorkerProcess:
    """A worker that this process has started; `refusal` is why the task cannot be run, if so."""

    def __init__(
        self,
        command: Sequence[str],
        text: str,
        log: Path,
        events: "WorkerEvents",
        folder: Path | None = None,
        **variables: str,
    ) -> None:
        """Start a process; write `text` to its standard input, which stays open.

        `events` receives each event, and `None` when the output ends. The standard error is
        appended to `log`. `variables` are for its environment, besides those of
        `worker_environment`.
        """
        self.refusal = ""
        self._log = log
        with log.open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                env=worker_environment(os.environ) | variables,
            )
        assert self._process.stdin is not None  # noqa: S101
        self.pid, self._stdin = self._process.pid, self._process.stdin
        with suppress(BrokenPipeError):
            self._stdin.write(text)
            self._stdin.flush()
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def wait(self) -> int:
        """Wait for the end of a process that is ending, and return its exit code."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        return self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.wait()

    def describe_failure(self) -> str:
        """Return the end of the standard error, or else the exit code, of an ended process."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-_MAX_LINES:]) or f"exit code {self.wait()}"

    def _read(self, events: "WorkerEvents") -> None:
        assert self._process.stdout is not None  # noqa: S101
        try:
            with self._process.stdout as lines:
                for event in filter(None, map(_parse_event, lines)):
                    if event["event"] == "refused":
                        self.refusal = str(event.get("text", ""))
                    else:
                        events.put((self, event))
        finally:
            events.put((self, None))


WorkerEvents = queue.Queue[tuple[WorkerProcess, dict[str, Json] | None]]


def worker_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a worker: one thread of computation, and this very package.

    The worker does not search the current folder for modules: a user's own `random.py` there would
    be run in place of the library's.
    """
    flags = f"{given.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **compile_variables(given), **given}
    own |= {**_ONE_THREAD, "XLA_FLAGS": flags}
    root = str(Path(perennial.__file__).parents[1])
    if root in map(str, (*site.getsitepackages(), site.getusersitepackages())):
        paths = []
    else:
        paths = [root]
    paths += [path for path in given.get("PYTHONPATH", "").split(os.pathsep) if path]
    return own | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def log_path(folder: Path, task: Task) -> Path:
    """Return the file for the standard error of a task's workers."""
    return folder / f"{task.name.replace(' ', '-')}.log"


def too_many_attempts(task: Task, failure: str, log: Path) -> UserError:
    """Make the error of a task that lost `MAX_ATTEMPTS` workers; it quotes the last failure."""
    last = failure.strip().splitlines()[-1].strip()
    return UserError(
        f"{task.name} lost its worker {MAX_ATTEMPTS} times ({last}); finished work is kept, and "
        f"the same command resumes; see {log}"
    )


def run_worker(work: Callable[[str], None]) -> int:
    """Run the task in the first line of standard input, in a worker; returns the exit code."""
    line = sys.stdin.readline()
    threading.Thread(target=_exit_with_input, daemon=True).start()
    try:
        work(line)
    except UserError as error:
        emit("refused", text=str(error))
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return 0


def emit(event: str, **details: Json) -> None:
    """Write an event of a worker to standard output."""
    print(json.dumps({"event": event, **details}), flush=True)  # noqa: T201 - the protocol


def _exit_with_input() -> None:
    """End this process as soon as its parent has ended; committed work stays."""
    sys.stdin.read()
    os._exit(1)


def _parse_event(line: str) -> dict[str, Json] | None:
    """Parse a line of a worker's output; `None` for other output of a library."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


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
