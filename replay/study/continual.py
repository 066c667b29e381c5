"""The study behind the paper's Figure 5: every strategy with every model over the periods.

The cells are those of a replay; workers make them, and a replay in the study's own store then finds
them all made and links them into one run. A second run asks fits that never saw a share of the
users about these users in every period, for what is forgotten and what carries over.
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
from perennial.replay.study.workers.base import Executor, Task, Watch
from perennial.replay.study.workers.local import LocalExecutor
from perennial.storage.results.artifacts import models_folder
from perennial.storage.results.merge import merge_results
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers

_SUFFIX = ".task.duckdb"
_SNAPSHOT = "log.duckdb"
_WORKER = "perennial.replay.study.continual_worker"


@dataclass(frozen=True)
class ContinualStudy:
    """What is to be done.

    Attributes:
        config: of the replay; it asks about the next period.
        held_out: users whom the fits for transfer do not see; `None` for no such fits.
        transfer_seeds: seeds of these fits.
        num_workers: on one machine at a time; they share its memory.
    """

    config: ReplayConfig
    held_out: HeldOutUsers | None = field(default_factory=HeldOutUsers)
    transfer_seeds: tuple[int, ...] = (0,)
    num_workers: int = 1

    @classmethod
    def of(cls, config: ReplayConfig, *, transfer: bool, num_workers: int) -> "ContinualStudy":
        """The study of a replay; transfer is asked of its first seed."""
        held_out = HeldOutUsers() if transfer else None
        return cls(config, held_out, config.seeds[:1], num_workers)

    @property
    def main(self) -> ReplayConfig:
        """The run about the next period; the workers share the memory."""
        limit = self.config.memory_limit
        shared = None if limit is None else limit // self.num_workers
        return dataclasses.replace(self.config, memory_limit=shared)

    @property
    def transfer(self) -> ReplayConfig | None:
        """The run about every period."""
        if self.held_out is None:
            return None
        return dataclasses.replace(self.main, held_out=self.held_out, seeds=self.transfer_seeds)

    @property
    def configs(self) -> tuple[ReplayConfig, ...]:
        """Both, the main one last, so that it is the newest run of the store."""
        return (self.main,) if self.transfer is None else (self.transfer, self.main)


@dataclass(frozen=True)
class StudyRuns:
    """The runs in the store that hold a study.

    Attributes:
        main: about the next period.
        transfer: about every period; `None` where it was not asked for.
    """

    main: int
    transfer: int | None


def run_continual(
    path: Path,
    study: ContinualStudy,
    *,
    watch: Watch,
    listener: Listener = ignore_events,
    engine: Executor | None = None,
) -> StudyRuns:
    """Make what is missing with workers, then link all of it into runs of the store.

    What a killed study had made is taken up first; the same call again goes on from there.

    Args:
        path: of a store that holds the log and that no one has open.
        study: what to do.
        watch: told what the workers do.
        listener: told of the linking, which makes nothing where the workers made all.
        engine: does the tasks; processes of this machine if `None`.

    Raises:
        UserError: the log is too short, the settings make no run, or a task cannot be done.
    """
    engine = engine or LocalExecutor(study.num_workers)
    folder = path.with_name(path.name + ".study")
    with Store.open(path) as store:
        for left in sorted(folder.glob(f"*{_SUFFIX}")):
            _collect(store, left)
        parts = [
            part
            for config in study.configs
            for part in missing_tasks(store, config, engine.versions)
        ]
    shutil.rmtree(folder, ignore_errors=True)
    if parts:
        folder.mkdir()
        snapshot = folder / _SNAPSHOT
        copy_store(path, snapshot)
        tasks = [_task(part, folder, snapshot) for part in parts]
        with Store.open(path) as store:
            engine.run_tasks(
                tasks,
                _WORKER,
                folder,
                lambda task: _collect(store, _own_store(folder, task.name)),
                watch,
            )
        shutil.rmtree(folder)
    with Store.open(path) as store:
        runs = [
            run_replay(store, config, listener=listener, versions=engine.versions)
            for config in study.configs
        ]
    return StudyRuns(runs[-1], runs[0] if len(runs) > 1 else None)


def _task(part: ReplayTask, folder: Path, snapshot: Path) -> Task:
    """A part as a worker gets it."""
    config = part.config
    name = f"{config.strategies[0]} seed {config.seeds[0]}"
    if config.held_out is not None:
        name += " transfer"
    own = _own_store(folder, name)
    return Task(name, ContinualRequest(str(snapshot), str(own), config), part.num_missing)


def _own_store(folder: Path, name: str) -> Path:
    """The store in which the worker of a task works."""
    return folder / f"{name.replace(' ', '-')}{_SUFFIX}"


def _collect(store: Store, path: Path) -> None:
    """Take over what a worker made, and clear its store away."""
    with Store.open(path) as made:
        merge_results(store, made)
    path.unlink()
    shutil.rmtree(models_folder(path), ignore_errors=True)
