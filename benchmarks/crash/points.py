"""Points at which a process may be killed: before and after all that may change a file.

After `watch_process` each of them in this process is counted, with its phase of live operation; at
the n-th one the process is killed, or its parent is signalled to kill it a little later.
"""

import functools
import os
import pkgutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHASES = {
    "perennial.replay.live.setup.configure_live": "init",
    "perennial.replay.live.ingest.ingest_period": "ingest",
    "perennial.storage.log.ingest.merge_late": "merge",
    "perennial.replay.live.updater.LiveUpdater._evaluate": "evaluate",
    "perennial.memory.distill_memory.DistillMemory.update": "distil",
    "perennial.replay.live.updater.LiveUpdater._fit": "refit",
    "perennial.replay.live.updater.LiveUpdater._publish": "publish",
    "perennial.storage.store.Store.write_snapshot": "snapshot",
    "perennial.replay.live.ingest.drop_events": "drop",
    "perennial.replay.live.ingest.erase_users": "forget",
}
"""Function -> what goes on while it runs; the innermost counts."""
ELSEWHERE = "open"
"""Opening, upgrading, sweeping, telling and closing."""
ALL_PHASES = frozenset({*PHASES.values(), ELSEWHERE})

_FUNCTIONS = (
    "shutil.copyfile",
    "perennial.storage.results.artifacts.write_synced",
    "perennial.memory.distill.loop.save_progress",
    "perennial.memory.distill.loop.DenseOptimisation.step",
    "perennial.models.infinite_ae.recipe.InfiniteAE.fit",
    "perennial.models.mvae.recipe.MVAE.fit",
    "duckdb.connect",
    "duckdb.DuckDBPyConnection.close",
    "os.fsync",
    "os.sendfile",
)
_HARMLESS = ("SELECT", "SET", "PRAGMA", "DESCRIBE")


@dataclass(frozen=True)
class Point:
    """A moment at which a process may be killed.

    Attributes:
        phase: of live operation.
        label: before or after what.
        commits: how many changes of the store had been committed.
        reported: number of lines that the command had printed.
    """

    phase: str
    label: str
    commits: int
    reported: int


@dataclass
class Watch:
    """Counts points, and kills at one.

    Attributes:
        store: the store's file; what happens to another one commits nothing.
        kill_at: the number of the point, from 0; `None` kills nowhere.
        signal_to: a file descriptor that is written to at that point.
        at_once: whether the process then dies; else its parent kills it.
        see: called after each commit, with a connection to the store or `None` where it is closed.
        points: so far.
    """

    store: Path
    kill_at: int | None = None
    signal_to: int | None = None
    at_once: bool = True
    see: Callable[[Any], None] | None = None
    points: list[Point] = field(default_factory=list)
    commits: int = 0
    reported: int = 0
    _phases: list[str] = field(default_factory=lambda: [ELSEWHERE])
    _sees: bool = False

    def pass_point(self, label: str) -> None:
        """Count a point, and die if it is the one."""
        if self._sees:
            return
        self.points.append(Point(self._phases[-1], label, self.commits, self.reported))
        if self.kill_at == len(self.points) - 1:
            if self.signal_to is not None:
                os.write(self.signal_to, b"!")
            if self.at_once:
                os.kill(os.getpid(), signal.SIGKILL)

    def wait_for_death(self) -> None:
        """Wait for the parent's signal, which may come late."""
        while self.kill_at is not None and self.kill_at < len(self.points):
            signal.pause()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Everything inside belongs to it."""
        self._phases.append(name)
        try:
            yield
        finally:
            self._phases.pop()

    def commit(self, connection: Any) -> None:
        """Note that the store is another one from now on."""
        self.commits += 1
        if self.see is not None:
            self._sees = True
            self.see(connection)
            self._sees = False

    def execute(self, original: Callable[..., Any], connection: Any, *arguments: Any) -> Any:
        """Run a statement of DuckDB, with a point on either side if it may change something."""
        words = str(arguments[0]).split()
        if not words or words[0].upper() in _HARMLESS:
            return original(connection, *arguments)
        label = " ".join(words[:3])
        self.pass_point(f"before {label}")
        result = original(connection, *arguments)
        if words[0] == "COMMIT" and self._is_store(original, connection):
            self.commit(connection)
        self.pass_point(f"after {label}")
        return result

    def _is_store(self, execute: Callable[..., Any], connection: Any) -> bool:
        rows = execute(connection, "SELECT path FROM duckdb_databases()").fetchall()
        return str(self.store) in {path for (path,) in rows}

    def replace(self, original: Callable[..., Any], source: Any, target: Any) -> Any:
        """Rename a file; one that takes the store's place commits."""
        name = _kind_of(target)
        self.pass_point(f"before the rename to {name}")
        result = original(source, target)
        if Path(target) == self.store:
            self.commit(None)
        self.pass_point(f"after the rename to {name}")
        return result

    def report(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Print a line."""
        result = original(*arguments, **options)
        if not options.get("err"):
            self.reported += 1
        self.pass_point("after telling")
        return result


def watch_process(watch: Watch) -> None:
    """Count all points of this process from now on; there is no way back."""
    for name, phase in PHASES.items():
        _wrap(name, functools.partial(_in_phase, watch, phase))
    for name in _FUNCTIONS:
        _wrap(name, functools.partial(_between_points, watch, name.rpartition(".")[2]))
    _wrap("os.unlink", functools.partial(_unlink, watch))
    for name in ("os.replace", "os.rename"):
        _wrap(name, watch.replace)
    _wrap("duckdb.DuckDBPyConnection.execute", watch.execute)
    _wrap("click.echo", watch.report)


def _wrap(name: str, around: Callable[..., Any]) -> None:
    """Put `around(original, ...)` in the place of a function or method."""
    owner, _, attribute = name.rpartition(".")
    place = pkgutil.resolve_name(owner)
    original = getattr(place, attribute)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        return around(original, *arguments, **options)

    functools.update_wrapper(wrapped, original, ("__name__", "__doc__"), ())
    setattr(place, attribute, wrapped)


def _in_phase(
    watch: Watch, phase: str, original: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    with watch.phase(phase):
        watch.pass_point(f"{phase} begins")
        result = original(*arguments, **options)
        watch.pass_point(f"{phase} ends")
        return result


def _between_points(
    watch: Watch, name: str, original: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    watch.pass_point(f"before {name}")
    result = original(*arguments, **options)
    watch.pass_point(f"after {name}")
    return result


def _unlink(watch: Watch, original: Callable[..., Any], path: Any, **options: Any) -> Any:
    # Most files that are to be removed are not there.
    if not options and not os.path.lexists(path):
        return original(path)
    name = _kind_of(path)
    watch.pass_point(f"before removing {name}")
    result = original(path, **options)
    watch.pass_point(f"after removing {name}")
    return result


def _kind_of(path: Any) -> str:
    """Kind of a file: the names of models and of their parts are too specific."""
    name = Path(path).name
    return name if ".duckdb" in name else f"{name.lstrip('.').partition('-')[0]} file"
