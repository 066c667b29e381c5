"""The study behind the paper's Figure 5: every strategy with every model over the periods.

The cells are those of a replay. Workers compute them, and a replay in the study's own store then
links them into one run. A second run has fits that never saw a share of the users; these users
evaluate them in every period, which measures forgetting and transfer.
"""

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from perennial.replay.config import ReplayConfig
from perennial.replay.events import Listener, ignore_events
from perennial.replay.loop import run_replay
from perennial.replay.plan import ReplayTask, missing_tasks
from perennial.replay.study.continual_worker import ContinualRequest, copy_store
from perennial.replay.study.workers.base import Executor, Task, TaskBatch, TaskListener
from perennial.replay.study.workers.local import LocalExecutor
from perennial.storage.opening import resolve_store
from perennial.storage.results.artifacts import models_folder
from perennial.storage.results.merge import merge_results
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers

_SUFFIX = ".task.duckdb"
_SNAPSHOT = "log.duckdb"
_WORKER = "perennial.replay.study.continual_worker"


@dataclass(frozen=True)
class ContinualStudy:
    """Settings of a study.

    Attributes:
        config: of the replay; each fit is evaluated on the next period.
        held_out: users that the fits for transfer do not see; `None` for no such fits.
        num_workers: workers on one machine at a time; they share its memory.
    """

    config: ReplayConfig
    held_out: HeldOutUsers | None = field(default_factory=HeldOutUsers)
    transfer_seeds: tuple[int, ...] = (0,)
    num_workers: int = 1

    @classmethod
    def of(cls, config: ReplayConfig, *, transfer: bool, num_workers: int) -> "ContinualStudy":
        """Make the study of a replay; transfer is measured with its first seed."""
        held_out = HeldOutUsers() if transfer else None
        return cls(config, held_out, config.seeds[:1], num_workers)

    @property
    def main(self) -> ReplayConfig:
        """Run with evaluation on the next period, and one worker's share of the memory."""
        limit = self.config.memory_limit
        shared = None if limit is None else limit // self.num_workers
        return dataclasses.replace(self.config, memory_limit=shared)

    @property
    def transfer(self) -> ReplayConfig | None:
        """Run with evaluation on every period."""
        if self.held_out is None:
            return None
        return dataclasses.replace(self.main, held_out=self.held_out, seeds=self.transfer_seeds)

    @property
    def configs(self) -> tuple[ReplayConfig, ...]:
        """Both runs; the main one is last, so that it becomes the newest run of the store."""
        return (self.main,) if self.transfer is None else (self.transfer, self.main)


@dataclass(frozen=True)
class StudyRuns:
    """Numbers of a study's runs in the store; `transfer` is `None` for a study without it."""

    main: int
    transfer: int | None


def run_continual(
    path: Path,
    study: ContinualStudy,
    *,
    on_event: TaskListener,
    listener: Listener = ignore_events,
    executor: Executor | None = None,
) -> StudyRuns:
    """Compute missing cells with workers, then link all cells into runs of the store.

    Cells that a killed study had finished are collected first; the same call again resumes.

    The store at `path` holds the log, and no one has it open. `listener` gets the events of
    linking, which computes only what the workers did not. Processes of this machine run the tasks
    without an `executor`.

    Raises:
        UserError: the log is too short, the settings make no run, or a task failed.
    """
    executor = executor or LocalExecutor(study.num_workers)
    path = resolve_store(path)
    folder = path.with_name(path.name + ".study")
    with Store.open(path) as store:
        for left in sorted(folder.glob(f"*{_SUFFIX}")):
            _collect(store, left)
        parts = [
            part
            for config in study.configs
            for part in missing_tasks(store, config, executor.versions)
        ]
    shutil.rmtree(folder, ignore_errors=True)
    if parts:
        folder.mkdir()
        snapshot = folder / _SNAPSHOT
        copy_store(path, snapshot)
        tasks = [_task(part, folder, snapshot) for part in parts]
        with Store.open(path) as store:

            def collect(task: Task) -> None:
                _collect(store, _own_store(folder, task.name))

            executor.run_tasks(TaskBatch(tasks, _WORKER, folder, collect, on_event))
        shutil.rmtree(folder)
    with Store.open(path) as store:
        runs = [
            run_replay(store, config, listener=listener, versions=executor.versions)
            for config in study.configs
        ]
    return StudyRuns(runs[-1], runs[0] if len(runs) > 1 else None)


def _task(part: ReplayTask, folder: Path, snapshot: Path) -> Task:
    config = part.config
    name = f"{config.built_strategies[0].name} seed {config.seeds[0]}"
    if config.held_out is not None:
        name += " transfer"
    own = _own_store(folder, name)
    return Task(name, ContinualRequest(str(snapshot), str(own), config), part.num_missing)


def _own_store(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}{_SUFFIX}"


def _collect(store: Store, path: Path) -> None:
    """Merge a worker's results into the study's store and delete the worker's."""
    with Store.open(path) as made:
        merge_results(store, made)
    path.unlink()
    shutil.rmtree(models_folder(path), ignore_errors=True)
