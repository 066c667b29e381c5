"""What a study knows of who does its tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replay.study.crew import Task, Watch


@dataclass(frozen=True)
class EngineRequest:
    """What a person asks of an engine.

    Attributes:
        workers: at a time; `None` for as many as there is room for.
        address: of the cluster; `None` for the engine's own choice.
        gpus_per_cell: GPUs that a worker of a cluster gets; 0 for workers that compute on CPUs.
    """

    workers: int | None = None
    address: str | None = None
    gpus_per_cell: float = 0.0


class Engine(Protocol):
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
