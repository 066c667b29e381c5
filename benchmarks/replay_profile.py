"""Where the time of a replay goes, by the function of ours that was at work or waited.

`python -m benchmarks.replay_profile SOURCE [options of perennial replay]` replays in this process
while a thread looks at the main thread's stack a hundred times a second. A look belongs to the
innermost function of the repository on it; what NumPy, LAPACK, XLA or DuckDB do is so told by who
asked them. Three tables: that function, the line it stood at, and all functions on the stack.
"""

import collections
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("storage", "stream", "models", "memory", "replay")
INTERVAL = 0.01
SHOWN = 25


@dataclass
class Sampler:
    """Looks at one thread's stack until it is told to stop.

    Attributes:
        thread: whose stack.
        lines: looks by innermost function of ours and the line it stood at.
        stacks: looks by the whole stack of our functions, outermost first.
    """

    thread: int
    lines: Counter[str] = field(default_factory=Counter)
    stacks: Counter[tuple[str, ...]] = field(default_factory=Counter)
    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def functions(self) -> Counter[str]:
        """Looks by innermost function of ours."""
        totals: Counter[str] = Counter()
        for stack, looks in self.stacks.items():
            totals[stack[-1]] += looks
        return totals

    def run(self) -> None:
        """Look, and sleep."""
        while not self._stop.wait(INTERVAL):
            frame = sys._current_frames().get(self.thread)
            if frame is not None:
                self._note(frame)

    def stop(self) -> None:
        """No more looks."""
        self._stop.set()

    def _note(self, frame: FrameType | None) -> None:
        self.looks += 1
        stack: list[str] = []
        line = ""
        while frame is not None:
            name = our_name(frame)
            if name is not None:
                line = line or f"{name}:{frame.f_lineno}"
                stack.append(name)
            frame = frame.f_back
        if stack:
            self.lines[line] += 1
            self.stacks[tuple(reversed(stack))] += 1


def our_name(frame: FrameType) -> str | None:
    """`package/module.py function` of a frame in the repository's packages."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return None
    relative = path.relative_to(ROOT)
    if relative.parts[0] not in PACKAGES:
        return None
    return f"{relative} {frame.f_code.co_qualname}"


def within(stacks: Counter[tuple[str, ...]]) -> Counter[str]:
    """Looks by function that was anywhere on the stack, once each."""
    totals: Counter[str] = collections.Counter()
    for stack, looks in stacks.items():
        for name in set(stack):
            totals[name] += looks
    return totals


def show(title: str, counts: Counter[str], sampler: Sampler, seconds: float) -> Table:
    """The largest, in seconds and per cent of all."""
    table = Table(title=title)
    for column in ("function", "s", "%"):
        table.add_column(column, justify="left" if column == "function" else "right")
    for name, looks in counts.most_common(SHOWN):
        share = looks / sampler.looks
        table.add_row(name, f"{share * seconds:.1f}", f"{100 * share:.1f}")
    return table


def main(arguments: list[str]) -> None:
    """Replay with the rest of the command line, and print where the time went."""
    sys.path.insert(0, str(ROOT))
    import jax

    from perennial import cli

    # Otherwise XLA would still be at work while the next call waits for it and is blamed.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    sampler = Sampler(threading.get_ident())
    watcher = threading.Thread(target=sampler.run, daemon=True)
    started, used = time.perf_counter(), time.process_time()
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        store = ["--store", f"{folder}/log.duckdb"]
        with suppress(SystemExit):
            cli.main(["replay", *arguments, *store])
        sampler.stop()
    watcher.join()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    console = Console(width=110)
    console.print(f"{seconds:.1f} s, {used:.1f} s of them on processors, {sampler.looks} looks")
    console.print(show("was at work or waited", sampler.functions, sampler, seconds))
    console.print(show("the line it stood at", sampler.lines, sampler, seconds))
    console.print(show("was on the stack", within(sampler.stacks), sampler, seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
