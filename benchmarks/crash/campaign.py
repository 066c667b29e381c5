"""A campaign: the undisturbed runs, the kills, and what came of them."""

import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compiling import share_compiled
from benchmarks.crash.draw import Kill, Place, draw_kills
from benchmarks.crash.points import ALL_PHASES, Point
from benchmarks.crash.scenario import SCENARIOS, write_files

ROOT = Path(__file__).resolve().parent.parent.parent
_SOURCES = ("storage", "stream", "models", "memory", "replay", "benchmarks")

Json = Any
"""A value that `json.dumps` accepts."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a kill.

    Attributes:
        kill: which.
        label: of its point.
        killed: whether the process was.
        faults: what is wrong, in words; empty where it survived.
    """

    kill: Kill
    label: str
    killed: bool
    faults: Sequence[str]


@dataclass(frozen=True)
class Campaign:
    """Kills and their outcomes.

    Attributes:
        points: of the undisturbed runs.
        outcomes: of the kills, in the order in which they ended.
    """

    points: Mapping[Place, Point]
    outcomes: Sequence[Outcome]

    @property
    def findings(self) -> tuple[Outcome, ...]:
        """Outcomes with faults, and those of processes that were not killed."""
        return tuple(one for one in self.outcomes if one.faults)

    @property
    def missed(self) -> tuple[str, ...]:
        """Phases in which no process was killed."""
        return tuple(sorted(ALL_PHASES - {one.kill.phase for one in self.outcomes if one.killed}))


def run_campaign(
    root: Path,
    kills: int,
    seed: int,
    workers: int,
    *,
    scenarios: Sequence[str] = tuple(SCENARIOS),
    only: int | None = None,
    done: Callable[[int, Outcome | None], None] = lambda _total, _outcome: None,
) -> Campaign:
    """Run the scenarios undisturbed, then kill and look.

    Args:
        root: an empty folder.
        kills: number of kills.
        seed: of the log and of the kills.
        workers: processes that kill at the same time.
        scenarios: names of those that are run.
        only: number of the one kill of these that is made; `None` makes all.
        done: called with the number of kills before the first, and after each.
    """
    write_files(root / "files", seed)
    code = _freeze(root / "code")
    with ExitStack() as stack, ThreadPoolExecutor(workers) as threads:
        free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for _ in range(workers):
            free.put(stack.enter_context(start_worker(code, root)))

        def request(job: Json) -> Json:
            worker = free.get()
            try:
                return worker.request(job)
            finally:
                free.put(worker)

        list(threads.map(lambda name: request({"scenario": name, "point": None}), scenarios))
        points = dict(_read_points(root, scenarios))
        drawn = [
            kill for kill in draw_kills(points, kills, seed) if only is None or kill.number == only
        ]
        done(len(drawn), None)

        def make(kill: Kill) -> Outcome:
            job = {**vars(kill.place), "delay": kill.delay, "from_start": kill.from_start}
            outcome = Outcome(kill, points[kill.place].label, **request(job))
            done(len(drawn), outcome)
            return outcome

        return Campaign(points, list(threads.map(make, drawn)))


@dataclass(frozen=True)
class Worker:
    """A process of `benchmarks.crash.worker`."""

    process: "subprocess.Popen[str]"

    def request(self, job: Json) -> Json:
        """Send a job and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker ended with {self.process.wait()}; see above")
        return json.loads(answer)


@contextmanager
def start_worker(code: Path, root: Path) -> Iterator[Worker]:
    """Start a worker; it ends after the last request."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(code / "src"), str(code))),
        # A process that forks must not have threads, and all children compile the same.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **share_compiled(root / "compiled"),
    }
    command = [sys.executable, "-m", "benchmarks.crash.worker", str(root)]
    with subprocess.Popen(  # noqa: S603  # ourselves
        command,
        cwd=code,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(process)
        assert process.stdin is not None
        process.stdin.close()


def _freeze(folder: Path) -> Path:
    """Copy the sources: keys of figures contain their hash, and they may be edited meanwhile."""
    for name in _SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src", folder / "src", symlinks=True)
    shutil.copy(ROOT / "cli.py", folder)
    return folder


def _read_points(root: Path, scenarios: Sequence[str]) -> Iterator[tuple[Place, Point]]:
    for name in scenarios:
        recorded = json.loads((root / name / "recorded.json").read_text())
        for step, command in enumerate(recorded):
            for number, point in enumerate(command["points"]):
                yield Place(name, step, number), Point(*point)
