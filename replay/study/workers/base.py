"""What a study knows of who does its tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Json = Any
"""What `json.loads` gives."""


class TaskRequest(Protocol):
    """What a worker is to do."""

    def to_line(self) -> str:
        """One line of JSON."""
        ...

    def away(self) -> "TaskFiles":
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
    request: TaskRequest
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


@dataclass(frozen=True)
class ExecutorOptions:
    """What a person asks of an engine.

    Attributes:
        workers: at a time; `None` for as many as there is room for.
        address: of the cluster; `None` for the engine's own choice.
        gpus_per_cell: GPUs that a worker of a cluster gets; 0 for workers that compute on CPUs.
    """

    workers: int | None = None
    address: str | None = None
    gpus_per_cell: float = 0.0


class Executor(Protocol):
    """Starts workers for tasks, and starts them again where they are lost.

    Attributes:
        num_workers: at a time.
        num_beside: workers on one machine at a time; they share its memory.
        versions: of the code and its libraries that the workers have, and their device.
    """

    @property
    def num_workers(self) -> int: ...  # noqa: D102 - above

    @property
    def num_beside(self) -> int: ...  # noqa: D102 - above

    @property
    def versions(self) -> Mapping[str, str]: ...  # noqa: D102 - above

    def run_tasks(
        self,
        tasks: Sequence[Task],
        worker: str,
        folder: Path,
        collect: Callable[[Task], None],
        watch: Watch,
    ) -> None:
        """Work through tasks.

        Args:
            tasks: begun in this order.
            worker: module that does one in a process of its own.
            folder: takes what workers write to standard error.
            collect: called with each task that is done, once, in this process; what the task made
                lies then where its request says.
            watch: told what happens, in this process.

        Raises:
            UserError: a task cannot be done, or lost its worker three times; others are ended.
        """
        ...


@dataclass(frozen=True)
class TaskFiles:
    """A request with places in a folder of the worker's own, and what goes into it and out.

    Places are relative, with `/` between their parts.

    Attributes:
        line: the request, as the worker is told it with that folder as its current one.
        takes: files that must lie there first: place there -> file here.
        brings: what the worker leaves, files or folders of files: place there -> place here. What
            is not there is not brought.
    """

    line: str
    takes: Mapping[str, Path]
    brings: Mapping[str, Path]


def read_brought(folder: Path, places: tuple[str, ...]) -> dict[str, bytes]:
    """What a worker left in its folder: place, of a file below one of `places` -> content."""
    files: list[Path] = []
    for place in places:
        path = folder / place
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [one for one in inside if one.is_file()]
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def place_here(errand: TaskFiles, place: str) -> Path:
    """Where a file that was brought belongs.

    Raises:
        ValueError: nobody asked for it.
    """
    parts = place.split("/")
    for depth in range(len(parts), 0, -1):
        base = errand.brings.get("/".join(parts[:depth]))
        if base is not None and ".." not in parts:
            return base.joinpath(*parts[depth:])
    raise ValueError(f"a worker brought {place!r}, which it was not asked for")
