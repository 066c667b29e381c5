"""Run a task on a machine of a Ray cluster: the local worker, in a temporary folder.

The worker is `python -m … MODULE`. Its first line of input gives the code and libraries of the
machine that sent the task. With others of its own it refuses, since its figures would have keys
that are never looked up. Otherwise it runs as the worker MODULE.
"""

import importlib
import json
import os
import platform
import queue
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.replay.study.workers.base import read_outputs
from perennial.replay.study.workers.local import REFUSED, WorkerEvents, WorkerProcess, emit
from perennial.storage.base import Json

_MODULE = "perennial.replay.study.workers.ray_task"
_POLL_SECONDS = 0.2
"""Time between checks for cancellation: no signal interrupts the wait for an event."""


class LostWorker(Exception):  # noqa: N818 - Ray shows the name
    """A worker died; the text is the end of its standard error."""


@dataclass(frozen=True)
class RemoteTask:
    """A task as it is sent to a machine.

    Attributes:
        versions: required of the worker's code and libraries.
        inputs: path in the worker's folder -> reference of the content in Ray's object store.
        on_cpu: hide GPUs from JAX.
    """

    name: str
    worker: str
    line: str
    versions: Mapping[str, str]
    inputs: Mapping[str, Any]
    outputs: tuple[str, ...]
    on_cpu: bool


@dataclass(frozen=True)
class RemoteResult:
    """Result of a `RemoteTask`: path in the worker's folder -> content; none if it was refused."""

    files: Mapping[str, bytes]
    refusal: str = ""


@dataclass(frozen=True)
class RemoteEvent:
    """An event on its way from a worker to the executor; `attempt` is a random name."""

    task: str
    attempt: str
    pid: int
    kind: str
    details: Mapping[str, Json]


class EventQueue:
    """Actor that buffers the workers' events for the executor."""

    def __init__(self) -> None:
        self._events: list[RemoteEvent] = []

    def put(self, event: RemoteEvent) -> None:
        """Append an event."""
        self._events.append(event)

    def drain(self) -> list[RemoteEvent]:
        """Remove and return all events."""
        events, self._events = self._events, []
        return events


def run_remote_task(task: RemoteTask, event_queue: Any) -> RemoteResult:
    """Run a task in a worker process of this machine; Ray retries it after a `LostWorker`."""
    import ray

    with tempfile.TemporaryDirectory(prefix="perennial-") as scratch:
        folder = Path(scratch)
        for name, reference in task.inputs.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # One after the other: an object stays in the node's memory while it is referenced.
            path.write_bytes(ray.get(reference))
        return _run_in(folder, task, event_queue)


def _run_in(folder: Path, task: RemoteTask, event_queue: Any) -> RemoteResult:
    import ray
    from ray.exceptions import RayError

    attempt = os.urandom(8).hex()
    events: WorkerEvents = queue.Queue()
    process = WorkerProcess(
        (sys.executable, "-m", _MODULE, task.worker),
        f"{json.dumps(dict(task.versions))}\n{task.line}\n",
        folder / "stderr",
        events,
        folder,
        **({"JAX_PLATFORMS": "cpu"} if task.on_cpu else {}),
    )

    last: list[Any] = []

    def report(kind: str, details: Mapping[str, Json]) -> None:
        event = RemoteEvent(task.name, attempt, process.pid, kind, details)
        # The queue may be lost for a while; the task matters more than its events.
        with suppress(RayError):
            last[:] = [event_queue.put.remote(event)]

    try:
        report("attempt", {"where": platform.node()})
        while True:
            with suppress(queue.Empty):
                _, event = events.get(timeout=_POLL_SECONDS)
                if event is None:
                    break
                report(event.pop("event"), event)
        # The calls are answered in order: the queue has all events before the task ends.
        with suppress(RayError):
            ray.get(last)
        code = process.wait()
    finally:
        process.kill()
    if code == REFUSED:
        return RemoteResult({}, process.refusal or f"{task.name} was refused")
    if code != 0:
        raise LostWorker(process.describe_failure())
    return RemoteResult(read_outputs(folder, task.outputs))


def main() -> int:
    """Compare versions, then run one task; returns the exit code."""
    (worker,) = sys.argv[1:]
    expected = json.loads(sys.stdin.readline())
    from perennial.storage.results.versions import read_versions

    difference = describe_difference(expected, read_versions(), platform.node())
    if difference is not None:
        emit("refused", text=difference)
        return REFUSED
    return int(importlib.import_module(worker).main())


def describe_difference(
    expected: Mapping[str, str], own: Mapping[str, str], node: str
) -> str | None:
    """Describe in one line the versions that differ on this machine; `None` if they are equal."""
    others = [name for name in sorted({*expected, *own}) if expected.get(name) != own.get(name)]
    if not others:
        return None
    if others == ["device"]:
        return (
            f"the worker on {node} computes on {own['device']}, not on {expected['device']}; ask "
            "for GPUs with --gpus-per-cell where all workers have JAX for them, or leave it out"
        )
    there, here = (
        ", ".join(f"{name} {given.get(name, 'none')}" for name in others)
        for given in (own, expected)
    )
    return (
        f"the worker on {node} has {there}, this machine has {here}; start all machines from the "
        "same image or wheel"
    )


if __name__ == "__main__":
    sys.exit(main())
