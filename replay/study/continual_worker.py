"""Worker of the study of strategies: a process that works on a copy of the store."""

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from perennial.replay.config import ReplayConfig
from perennial.replay.events import CellFinished, CellStarted, Event, StageMessage
from perennial.replay.study.workers.base import TaskFiles, TaskRequest
from perennial.replay.study.workers.local import emit, run_worker
from perennial.storage.access import copy_file
from perennial.storage.results.artifacts import models_folder

_OWN, _RESULTS = "own.duckdb", "results.duckdb"


@dataclass(frozen=True)
class ContinualRequest(TaskRequest):
    """Task of a worker.

    The snapshot with the log is copied to the worker's own store, or an existing one is resumed.
    `results` is a store for the results without the log; empty for none.
    """

    snapshot: str
    store: str
    config: ReplayConfig
    results: str = ""

    def task_files(self) -> TaskFiles:
        """Implement `TaskRequest.task_files`: a copy of the store in, the results out."""
        snapshot, store = Path(self.snapshot), Path(self.store)
        models = models_folder(snapshot)
        kept = sorted(models.iterdir()) if models.is_dir() else []
        own = models_folder(Path(_OWN)).name
        return TaskFiles(
            line=ContinualRequest(_OWN, _OWN, self.config, _RESULTS).to_line(),
            inputs={_OWN: snapshot, **{f"{own}/{path.name}": path for path in kept}},
            outputs={_RESULTS: store, models_folder(Path(_RESULTS)).name: models_folder(store)},
        )


def main() -> int:
    """Run one task; returns the exit code."""
    return run_worker(_work)


def copy_store(snapshot: Path, path: Path) -> None:
    """Copy a store that no one has open, with its models; the copy appears whole or not at all."""
    models = models_folder(snapshot)
    if models.is_dir():
        shutil.copytree(models, models_folder(path), dirs_exist_ok=True)
    copy_file(snapshot, path)


def _work(line: str) -> None:
    from perennial.replay.loop import run_replay
    from perennial.storage.results.merge import merge_results
    from perennial.storage.store import Store

    request = ContinualRequest.from_line(line)
    path = Path(request.store)
    if not path.exists():
        copy_store(Path(request.snapshot), path)
    with Store.open(path) as store:
        run_replay(store, request.config, listener=_emit_event)
        if request.results:
            with Store.open(request.results) as results:
                merge_results(results, store)


def _emit_event(event: Event) -> None:
    if isinstance(event, CellStarted):
        emit("started", cell=asdict(event.cell))
    elif isinstance(event, StageMessage):
        emit("stage", text=event.text)
    elif isinstance(event, CellFinished):
        seconds = None if event.cell is None else sum(event.cell.stages.values())
        emit("finished", cell=asdict(event.name), seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
