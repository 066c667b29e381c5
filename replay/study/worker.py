"""One task of a study in a process of its own: `python -m replay.study.worker`, asked by a line.

The process works in a store of its own, a copy of the log, so that the study's store has one
writer. It reads its request from standard input, tells events on standard output, a JSON object a
line, and ends when standard input does: a worker does not outlive who started it.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from replay.config import ReplayConfig
from replay.progress import CellFinished, CellStarted, Event, StageMessage
from storage.errors import UserError
from storage.snapshot import copy_file

REFUSED = 2
"""Exit code of a task that the user must change something for; it is not tried again."""


@dataclass(frozen=True)
class Request:
    """What a worker is to do.

    Attributes:
        snapshot: the store to copy the log from.
        store: the worker's own; it goes on from what is there.
        config: the replay.
    """

    snapshot: str
    store: str
    config: ReplayConfig

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "Request":
        """The inverse of `to_line`."""
        return TypeAdapter(cls).validate_json(line)


def main() -> int:
    """Serve one request; returns the exit code."""
    request = Request.from_line(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        _work(request)
    except UserError as error:
        _tell({"event": "refused", "text": str(error)})
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return 0


def _work(request: Request) -> None:
    from replay.loop import run_replay
    from storage.store import Store

    path = Path(request.store)
    if not path.exists():
        copy_store(Path(request.snapshot), path)
    with Store.open(path) as store:
        run_replay(store, request.config, listener=_tell_event)


def copy_store(snapshot: Path, path: Path) -> None:
    """Copy a store that no one has open, models and all; it is there whole or not at all."""
    models = snapshot.with_name(snapshot.name + ".models")
    if models.is_dir():
        shutil.copytree(models, path.with_name(path.name + ".models"), dirs_exist_ok=True)
    copy_file(snapshot, path)


def _end_with_input() -> None:
    """Leave at once when who started this process is gone; what is committed stays."""
    sys.stdin.read()
    os._exit(1)


def _tell_event(event: Event) -> None:
    if isinstance(event, CellStarted):
        _tell({"event": "started", "cell": asdict(event.cell)})
    elif isinstance(event, StageMessage):
        _tell({"event": "stage", "text": event.text})
    elif isinstance(event, CellFinished):
        seconds = None if event.cell is None else sum(event.cell.stages.values())
        _tell({"event": "finished", "cell": asdict(event.name), "seconds": seconds})


def _tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)  # noqa: T201 - the protocol with who started us


if __name__ == "__main__":
    sys.exit(main())
