"""Worker of a study: one task (`python -m perennial.replay.study.continual_worker`).

The process works in a store of its own, a copy of the log, so that the study's store has one
writer.
"""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from perennial.replay.config import ReplayConfig
from perennial.replay.events import CellFinished, CellStarted, Event, StageMessage
from perennial.replay.study.workers.base import TaskFiles
from perennial.replay.study.workers.process import serve, tell
from perennial.storage.access import copy_file
from perennial.storage.results.artifacts import models_folder

_OWN, _RESULTS = "own.duckdb", "results.duckdb"


@dataclass(frozen=True)
class ContinualRequest:
    """What a worker is to do.

    Attributes:
        snapshot: the store to copy the log from.
        store: the worker's own; it goes on from what is there.
        config: the replay.
        results: a store for what was made without the log; empty for none.
    """

    snapshot: str
    store: str
    config: ReplayConfig
    results: str = ""

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    def away(self) -> TaskFiles:
        """The same elsewhere: the worker's store goes there as a copy, and results come back."""
        given = Path(self.snapshot)
        models = models_folder(given)
        kept = sorted(models.iterdir()) if models.is_dir() else []
        own = models_folder(Path(_OWN)).name
        return TaskFiles(
            line=ContinualRequest(_OWN, _OWN, self.config, _RESULTS).to_line(),
            takes={_OWN: given, **{f"{own}/{path.name}": path for path in kept}},
            brings={
                _RESULTS: Path(self.store),
                models_folder(Path(_RESULTS)).name: models_folder(Path(self.store)),
            },
        )

    @classmethod
    def from_line(cls, line: str) -> "ContinualRequest":
        """The inverse of `to_line`."""
        return TypeAdapter(cls).validate_json(line)


def main() -> int:
    """Serve one request; returns the exit code."""
    return serve(_work)


def _work(line: str) -> None:
    from perennial.replay.loop import run_replay
    from perennial.storage.results.merge import merge_results
    from perennial.storage.store import Store

    request = ContinualRequest.from_line(line)
    path = Path(request.store)
    if not path.exists():
        copy_store(Path(request.snapshot), path)
    with Store.open(path) as store:
        run_replay(store, request.config, listener=_tell_event)
        if request.results:
            with Store.open(request.results) as results:
                merge_results(results, store)


def copy_store(snapshot: Path, path: Path) -> None:
    """Copy a store that no one has open, models and all; it is there whole or not at all."""
    models = models_folder(snapshot)
    if models.is_dir():
        shutil.copytree(models, models_folder(path), dirs_exist_ok=True)
    copy_file(snapshot, path)


def _tell_event(event: Event) -> None:
    if isinstance(event, CellStarted):
        tell({"event": "started", "cell": asdict(event.cell)})
    elif isinstance(event, StageMessage):
        tell({"event": "stage", "text": event.text})
    elif isinstance(event, CellFinished):
        seconds = None if event.cell is None else sum(event.cell.stages.values())
        tell({"event": "finished", "cell": asdict(event.name), "seconds": seconds})


if __name__ == "__main__":
    sys.exit(main())
