"""What a machine of a Ray cluster does for a task: the same worker, in a folder of its own."""

import json
import os
import platform
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.replay.study.workers.base import read_brought
from perennial.replay.study.workers.local import worker_environment
from perennial.replay.study.workers.process import REFUSED

_GUARD = "perennial.replay.study.workers.remote_main"
_PATIENCE = 0.2
"""Seconds between looks whether the task was cancelled: no signal wakes a read."""

Json = Any
"""What `json.loads` gives."""


class LostWorker(Exception):  # noqa: N818 - Ray shows the name
    """A worker died; its last words follow."""


Said = tuple[str, str, int, str, Json]
"""Name of the task, of the attempt, pid of the worker, kind of the event, its details."""


@dataclass(frozen=True)
class Job:
    """A task on its way to a machine.

    Attributes:
        name: of the task.
        worker: module that does it.
        line: what that is told.
        versions: that it must have.
        takes: place in its folder -> object with the content.
        brings: places of what it leaves.
        on_cpu: whether JAX must not look for a GPU.
    """

    name: str
    worker: str
    line: str
    versions: Mapping[str, str]
    takes: Mapping[str, Any]
    brings: tuple[str, ...]
    on_cpu: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        brought: place -> content.
        refusal: why it cannot be done; nothing is brought then.
    """

    brought: Mapping[str, bytes]
    refusal: str = ""


class EventQueue:
    """Hears what workers say, until it is asked; an actor beside the driver."""

    def __init__(self) -> None:
        self._heard: list[Said] = []

    def hear(self, said: Said) -> None:
        """Keep it."""
        self._heard.append(said)

    def tell(self) -> list[Said]:
        """All that was heard since the last time."""
        heard, self._heard = self._heard, []
        return heard


def do_job(job: Job, ears: Any) -> Outcome:
    """Do a task in a process of its own.

    Args:
        job: what to do.
        ears: handle of an `EventQueue` that hears of it.

    Raises:
        LostWorker: the process died; Ray begins the task again.
    """
    import ray

    with tempfile.TemporaryDirectory(prefix="perennial-") as scratch:
        folder = Path(scratch)
        for place, reference in job.takes.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            # One after the other: an object stays in the node's memory while it is held.
            path.write_bytes(ray.get(reference))
        return _work(job, folder, ears)


def _work(job: Job, folder: Path, ears: Any) -> Outcome:
    words = folder / "stderr"
    environment = worker_environment(os.environ)
    if job.on_cpu:
        environment["JAX_PLATFORMS"] = "cpu"
    with words.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            (sys.executable, "-m", _GUARD, job.worker),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
    attempt = os.urandom(8).hex()
    refusal = ""

    def tell(kind: str, details: Json) -> None:
        # Whoever listens may be gone for a while; the work is worth more than the news of it.
        with suppress(ray_errors()):
            ears.hear.remote((job.name, attempt, process.pid, kind, details))

    try:
        tell("begun", {"where": platform.node()})
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):
            process.stdin.write(f"{json.dumps(dict(job.versions))}\n{job.line}\n")
            process.stdin.flush()
        for said in _events(process):
            kind = said.pop("event")
            if kind == "refused":
                refusal = str(said["text"])
            else:
                tell(kind, said)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):
            process.stdin.close()
    if code == REFUSED:
        return Outcome({}, refusal or f"{job.name} was refused")
    if code != 0:
        lines = words.read_text(errors="replace").strip().splitlines()
        raise LostWorker("\n".join(lines[-100:]) or f"exit code {code}")
    return Outcome(read_brought(folder, job.brings))


def ray_errors() -> type[Exception]:
    """What Ray raises where a machine or an actor is gone."""
    from ray.exceptions import RayError

    return RayError


def _events(process: "subprocess.Popen[str]") -> Iterator[dict[str, Json]]:
    """What a worker tells, until its output ends."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None  # noqa: S101
        with process.stdout as said:
            for line in said:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_PATIENCE)
        except queue.Empty:
            continue
        if line is None:
            return
        with suppress(ValueError):
            said = json.loads(line)
            # Anything else is a library's own words.
            if isinstance(said, dict) and "event" in said:
                yield said
