"""Tasks of a study, and the protocol of the executors that run them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, Self

from pydantic import TypeAdapter

from perennial.storage.base import Json

MAX_ATTEMPTS = 3
"""Number of workers that a task may lose before the study ends."""


@dataclass(frozen=True)
class TaskFiles:
    """A request whose paths lie in a working folder of the worker, and the files to copy.

    Paths in that folder are relative, with `/` between their parts.

    Attributes:
        line: the request; the worker runs it with the folder as its current one.
        inputs: files to copy into the folder before: path in the folder -> file here.
        outputs: files, or folders of files, to copy back: path in the folder -> path here. Missing
            ones are skipped.
    """

    line: str
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]

    def destination(self, output: str) -> Path:
        """Return the path here of a file that a worker returned; `ValueError` for any other."""
        parts = output.split("/")
        for depth in range(len(parts), 0, -1):
            base = self.outputs.get("/".join(parts[:depth]))
            if base is not None and ".." not in parts:
                return base.joinpath(*parts[depth:])
        raise ValueError(f"a worker returned {output!r}, which is no output of its task")


@dataclass(frozen=True)
class TaskRequest:
    """Input of a worker; the fields of subclasses are JSON values."""

    def to_line(self) -> str:
        """Return the request as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Parse the result of `to_line`."""
        return TypeAdapter(cls).validate_json(line)

    def task_files(self) -> TaskFiles:
        """Return the request and its files for a machine that does not share our disk."""
        raise NotImplementedError


@dataclass(frozen=True)
class Task:
    """A part of a study that is run by itself; its name is unique within the study."""

    name: str
    request: TaskRequest
    num_cells: int


@dataclass(frozen=True)
class TaskEvent:
    """Progress of a task.

    Attributes:
        kind: `attempt` when a worker starts the task; `started`, `stage` and `finished` of its
            cells; `lost` when the worker died and the task will be retried; `waiting` when no
            machine has room for it; `done`.
        details: data of the event; `where`, the machine, with a worker on another machine.
    """

    task: Task
    pid: int
    kind: str
    details: Mapping[str, Json] = field(default_factory=dict)


TaskListener = Callable[[TaskEvent], None]


@dataclass(frozen=True)
class ExecutorOptions:
    """Settings of an executor; `None` for its own default.

    `gpus_per_cell` are for each worker of a cluster; 0 for workers that compute on CPUs.
    """

    workers: int | None = None
    address: str | None = None
    gpus_per_cell: float = 0.0


@dataclass(frozen=True)
class TaskBatch:
    """Tasks that an executor runs to their end.

    Attributes:
        worker: module that runs one task in a process of its own.
        folder: for the workers' standard error, a file for each task.
        collect: called once with each finished task, in this process; its outputs are then at
            the paths in its request.
        on_event: called with each event, in this process.
    """

    tasks: Sequence[Task]
    worker: str
    folder: Path
    collect: Callable[[Task], None]
    on_event: TaskListener


class Executor(Protocol):
    """Runs tasks in worker processes, and retries those whose workers die.

    `versions` are of the workers' code and libraries, and their device. The workers of one machine,
    `workers_per_machine` at most, share its memory.
    """

    @property
    def num_workers(self) -> int: ...  # noqa: D102 - above

    @property
    def workers_per_machine(self) -> int: ...  # noqa: D102 - above

    @property
    def versions(self) -> Mapping[str, str]: ...  # noqa: D102 - above

    def run_tasks(self, batch: TaskBatch) -> None:
        """Run tasks to their end; a task that is refused, or lost too often, is a `UserError`."""


def read_outputs(folder: Path, outputs: Iterable[str]) -> dict[str, bytes]:
    """Read the files that a worker left at or below some paths: path in `folder` -> content."""
    files: list[Path] = []
    for output in outputs:
        path = folder / output
        files += [one for one in sorted(path.rglob("*")) if one.is_file()]
        files += [path] if path.is_file() else []
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}
