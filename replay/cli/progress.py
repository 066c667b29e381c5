"""Progress of commands on the terminal, all of it on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from perennial.replay.analysis.run import load_run
from perennial.replay.analysis.summary import summarise
from perennial.replay.events import (
    CellFinished,
    CellName,
    CellStarted,
    Event,
    Listener,
    RunStarted,
    StageMessage,
)
from perennial.replay.report.tables import format_figures, format_seconds
from perennial.replay.report.terminal import render_means
from perennial.replay.study.workers.base import TaskEvent, TaskListener
from perennial.storage.progress import Progress as Report
from perennial.storage.store import Store

if TYPE_CHECKING:
    from perennial.memory.distill.summary import DistillListener


@contextmanager
def show_bar(console: Console) -> Iterator[Report]:
    """A bar for anything that tells how far it is; nothing is drawn where no one watches."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    silent = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=silent
    ) as bars:
        task = bars.add_task("", total=None)

        def show(what: str, done: int = 0, total: int | None = None, /) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield show


@contextmanager
def show_status(console: Console) -> Iterator[Report]:
    """A spinner with a few words, for work of unknown length."""
    with console.status("") as status:

        def show(message: str, _done: int = 0, _total: int | None = None, /) -> None:
            status.update(escape(message))

        yield show


_SHORTEST = 0.05
"""Seconds of a cell that is worth a line: a fit is asked many questions for transfer."""


@contextmanager
def watch_tasks(console: Console, num_tasks: int = 0) -> Iterator[TaskListener]:
    """A bar for each task at work on a terminal; elsewhere a line per task and refit.

    Args:
        console: writes to stderr, so that results keep stdout for themselves.
        num_tasks: tells how many of so many are done; 0 for tasks that are few and long.
    """
    if not console.is_terminal:
        yield _Lines(console, num_tasks)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
        console=console,
        transient=True,
    ) as bars:
        yield _Bars(bars, num_tasks)


class _Bars:
    """One bar per task, and one of all where they are many."""

    def __init__(self, bars: Progress, num_tasks: int) -> None:
        self._bars = bars
        self._of: dict[str, TaskID] = {}
        self._all = bars.add_task("all", total=num_tasks, doing="") if num_tasks else None

    def __call__(self, event: TaskEvent) -> None:
        name = event.task.name
        if event.kind == "attempt":
            if name in self._of:
                self._bars.remove_task(self._of[name])
            self._of[name] = self._bars.add_task(name, total=event.task.num_cells, doing="starting")
            return
        if event.kind == "waiting":
            self._bars.console.print(_waiting(event), markup=False)
            return
        bar = self._of[name]
        if event.kind == "finished" and event.details["seconds"] is not None:
            self._bars.advance(bar)
        elif event.kind == "stage":
            self._bars.update(bar, doing=str(event.details["text"])[:60])
        elif event.kind == "lost":
            self._bars.console.print(_lost(event), markup=False)
        elif event.kind == "done":
            self._bars.remove_task(bar)
            if self._all is not None:
                self._bars.advance(self._all)


class _Lines:
    """For logs."""

    def __init__(self, console: Console, num_tasks: int) -> None:
        self._console, self._num_tasks, self._num_done = console, num_tasks, 0

    def __call__(self, event: TaskEvent) -> None:
        text = self._describe(event)
        if text is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _describe(self, event: TaskEvent) -> str | None:
        name = event.task.name
        if event.kind == "attempt":
            return f"{name}: begun"
        if event.kind == "done":
            self._num_done += 1
            count = f" ({self._num_done} of {self._num_tasks})" if self._num_tasks else ""
            return f"{name}: done{count}"
        if event.kind == "lost":
            return _lost(event)
        if event.kind == "waiting":
            return _waiting(event)
        if event.kind == "finished" and (event.details["seconds"] or 0.0) >= _SHORTEST:
            cell, seconds = event.details["cell"], format_seconds(event.details["seconds"])
            return f"{name}: period {cell['fit_period']} {cell['model']} ({seconds})"
        return None


def _lost(event: TaskEvent) -> str:
    if "where" in event.details:
        where = event.details["where"]
        return f"{event.task.name}: its worker {event.pid} on {where} died; another begins it anew"
    return f"{event.task.name}: its worker {event.pid} died; another goes on from what it made"


def _waiting(event: TaskEvent) -> str:
    return f"{event.task.name}: waits for a machine; `ray status` shows what the cluster has"


@contextmanager
def watch_replay(store: Store, console: Console) -> Iterator[Listener]:
    """Show a replay: bars and a table that grows on a terminal, a line per cell elsewhere.

    Args:
        store: where the run is recorded; the table is read from it.
        console: writes to stderr, so that results keep stdout for themselves.
    """
    if not console.is_terminal:
        yield lambda event: _print_line(console, event)
        return
    screen = _Screen(store, console)
    with screen.live:
        yield screen


class _Screen:
    """The means so far, a bar for the cells of the run, and what the current one is doing."""

    def __init__(self, store: Store, console: Console) -> None:
        self._store = store
        self._run_id: int | None = None
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._cells = self._bars.add_task("refits", total=None)
        self._stage = Spinner("dots")
        self._means: Table | None = None
        self.live = Live(console=console, transient=True, refresh_per_second=8)
        self._draw()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run_id = event.run_id
            self._bars.update(self._cells, total=event.num_cells)
        elif isinstance(event, CellStarted):
            self._show_stage(event.cell, "reading")
        elif isinstance(event, StageMessage):
            self._show_stage(event.cell, event.text)
        elif isinstance(event, CellFinished):
            self._bars.update(self._cells, completed=event.num_done)
            if event.cell is not None or event.num_done == event.num_cells:
                self._show_means()

    def _show_stage(self, cell: CellName, text: str) -> None:
        where = f"period {cell.fit_period} · {cell.strategy} · {cell.model} · seed {cell.seed}: "
        self._stage.update(text=Text(where + text, overflow="ellipsis", no_wrap=True))

    def _show_means(self) -> None:
        summary = summarise(load_run(self._store, self._run_id, users=False), num_resamples=0)
        self._means = render_means(summary, self.live.console.width)
        self._draw()

    def _draw(self) -> None:
        above: list[RenderableType] = [] if self._means is None else [self._means, ""]
        self.live.update(Group(*above, self._bars, self._stage))


def _print_line(console: Console, event: Event) -> None:
    """One line for each cell, for logs."""
    if not isinstance(event, CellFinished):
        return
    name = event.name
    text = f"{event.num_done}/{event.num_cells} period {name.fit_period} {name.strategy} "
    text += f"{name.model} seed {name.seed}: "
    if event.cell is None:
        text += "there already"
    else:
        text += format_figures(event.cell.figures)
        text += f" ({format_seconds(sum(event.cell.stages.values()))})"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_distillation(console: Console) -> Iterator["DistillListener"]:
    """Draw a bar with the step, the loss, the validation and the time left."""
    from perennial.memory.distill.summary import report_steps

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task("distilling", total=None)

        def show(message: str, done: int = 0, total: int | None = None, /) -> None:
            bars.update(task, description=message, completed=done, total=total)

        yield report_steps(show, "distilling")


@contextmanager
def show_stages(console: Console) -> Iterator[Listener]:
    """What judging and refitting are doing, on a line that is written over."""
    with show_files(console) as (_, listener):
        yield listener


@contextmanager
def show_files(console: Console) -> Iterator[tuple[Report, Listener]]:
    """The same for files that are read first: what is being read, then what is being done."""
    with show_status(console) as say:

        def read(what: str, done: int = 0, total: int | None = None, /) -> None:
            say(what if not total else f"{what} ({100 * done // total}%)")

        def listen(event: Event) -> None:
            if isinstance(event, StageMessage):
                say(f"period {event.cell.fit_period}: {event.text}")

        yield read, listen
