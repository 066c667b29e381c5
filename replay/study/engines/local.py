"""Processes of this machine."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replay.machine import default_workers
from replay.study.crew import Task, Watch, run_tasks
from replay.study.engines.protocol import EngineRequest
from storage.versions import read_versions


@dataclass(frozen=True)
class LocalEngine:
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
def open_local(request: EngineRequest, say: Callable[[str], None]) -> Iterator[LocalEngine]:
    """One worker per core unless told, one where there is a GPU."""
    yield LocalEngine(request.workers or default_workers())
