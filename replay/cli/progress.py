"""Progress of commands on the terminal, on stderr unless another console is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from perennial.replay.analysis.run import load_run
from perennial.replay.analysis.summary import summarise
from perennial.replay.analysis.time_left import TimeLeft
from perennial.replay.cli.errors import DRAWN, START_LINE, Drawing
from perennial.replay.events import (
    CellFinished,
    CellName,
    CellStarted,
    Event,
    Listener,
    RunStarted,
    StageMessage,
    listen_to_stages,
)
from perennial.replay.report.drawing import TerminalConsole, render_table
from perennial.replay.report.tables import format_figures, format_seconds, means_table
from perennial.replay.study.workers.base import TaskEvent, TaskListener
from perennial.storage.base import Progress as Report
from perennial.storage.base import escape_controls
from perennial.storage.store import Store

if TYPE_CHECKING:
    from perennial.memory.distill.summary import DistillListener


def _errors() -> TerminalConsole:
    START_LINE.cancel()
    return TerminalConsole(stderr=True)


@contextmanager
def _draw(drawing: Drawing, console: Console) -> Iterator[None]:
    """Draw progress until the end; lines of `echo` appear above it."""
    drawing.start()
    if console.is_terminal:
        DRAWN.append(drawing)
    try:
        yield
    finally:
        if drawing in DRAWN:
            DRAWN.remove(drawing)
        drawing.stop()


class _LongText(TextColumn):
    """Column of text that is cut short where the screen is too narrow, before any other column."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False, table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        """Render the text of a task on one line."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _make_bars(console: Console, *columns: ProgressColumn, hidden: bool = False) -> Progress:
    """Make bars that vanish at the end; on a narrow screen they are short."""
    first = (_LongText("{task.description}"), BarColumn(min(40, console.width // 5)))
    return Progress(*first, *columns, console=console, transient=True, disable=hidden)


def _counts() -> tuple[ProgressColumn, ...]:
    """Make the columns of a bar that counts units of work."""
    return MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()


@contextmanager
def _show_one_bar(console: Console | None, *columns: ProgressColumn) -> Iterator[Report]:
    console = console or _errors()
    bars = _make_bars(console, *columns, hidden=not console.is_terminal)
    with _draw(bars, console):
        task = bars.add_task("", total=None)

        def show(message: str, done: int = 0, total: int | None = None, /) -> None:
            shown = escape_controls(message)
            bars.update(task, description=shown, completed=done, total=total)

        yield show


@contextmanager
def show_bar(console: Console | None = None) -> Iterator[Report]:
    """Draw a bar with the share that is done; nothing if the console is no terminal."""
    with _show_one_bar(console, TaskProgressColumn(), TimeElapsedColumn()) as progress:
        yield progress


@contextmanager
def show_distillation(console: Console | None = None) -> Iterator["DistillListener"]:
    """Draw a bar with the step, the loss, the validation and the time left."""
    from perennial.memory.distill.summary import report_steps

    with _show_one_bar(console, *_counts()) as progress:
        yield report_steps(progress, "distilling")


def _one_line(text: str) -> Padding:
    """Draw text next to a spinner, cut short before the end of the line."""
    # A bare `Text` becomes a part of the spinner's, which is wrapped; `^C` must find room.
    return Padding(Text(text, overflow="ellipsis", no_wrap=True), (0, 3, 0, 0))


@contextmanager
def show_status(console: Console | None = None) -> Iterator[Report]:
    """Draw a spinner and the last message, for work of unknown length."""
    console = console or _errors()
    status = console.status("")
    with _draw(status, console):

        def show(message: str, done: int = 0, total: int | None = None, /) -> None:
            share = f" ({100 * done // total}%)" if total else ""
            shown = escape_controls(message + share)
            status.update(_one_line(shown))

        yield show


@contextmanager
def show_stages(console: Console | None = None) -> Iterator[tuple[Report, Listener]]:
    """Draw the stage of evaluations and refits, and the progress of work before them."""
    with show_status(console) as progress:
        yield progress, listen_to_stages(progress)


_SHORTEST = 0.05
"""Seconds of a cell that is worth a line: for transfer a fit is evaluated on many periods."""


@contextmanager
def watch_tasks(console: Console | None = None, num_tasks: int = 0) -> Iterator[TaskListener]:
    """Draw a bar for each running task on a terminal; elsewhere print a line per task and refit."""
    console = console or _errors()
    if not console.is_terminal:
        yield _TaskLines(console, num_tasks)
        return
    bars = _make_bars(console, *_counts(), _LongText("{task.fields[doing]}"))
    with _draw(bars, console):
        yield _TaskBars(bars, num_tasks)


class _TaskBars:
    """A bar for each task, and one for all if they are counted."""

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


class _TaskLines:
    """A line for each event, for logs."""

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
    return f"{event.task.name}: its worker {event.pid} died; another resumes from what it made"


def _waiting(event: TaskEvent) -> str:
    return f"{event.task.name}: waits for a machine; `ray status` shows what the cluster has"


@contextmanager
def watch_replay(store: Store, console: Console | None = None) -> Iterator[Listener]:
    """Draw bars and a growing table of a replay on a terminal; elsewhere print a line per cell."""
    console = console or _errors()
    if not console.is_terminal:
        yield _ReplayLines(console)
        return
    screen = _Screen(store, console)
    try:
        with _draw(screen.live, console):
            yield screen
    except BaseException:
        if screen.means is not None:
            console.print(screen.means)
        raise


class _Screen:
    """The means so far, a bar for the cells of the run, and the stage of the current one."""

    def __init__(self, store: Store, console: Console) -> None:
        self._store = store
        self._run_id: int | None = None
        self._time_left = TimeLeft(())
        left = TextColumn("{task.fields[left]}")
        self._bars = _make_bars(console, MofNCompleteColumn(), TimeElapsedColumn(), left)
        self._cells = self._bars.add_task("refits", total=None, left="")
        self._stage = Spinner("dots")
        self.means: Table | None = None
        self.live = Live(console=console, transient=True, refresh_per_second=8)
        self._draw()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run_id = event.run_id
            self._time_left = TimeLeft(event.cells)
            self._bars.update(self._cells, total=len(event.cells))
        elif isinstance(event, CellStarted):
            self._show_stage(event.cell, "reading")
        elif isinstance(event, StageMessage):
            self._show_stage(event.cell, event.text)
        elif isinstance(event, CellFinished):
            self._time_left.finish(event)
            left = _format_left(self._time_left)
            self._bars.update(self._cells, completed=event.num_done, left=left)
            if event.cell is not None or event.num_done == event.num_cells:
                self._show_means()

    def _show_stage(self, cell: CellName, text: str) -> None:
        where = f"period {cell.fit_period} · {cell.strategy} · {cell.model} · seed {cell.seed}: "
        self._stage.update(text=_one_line(where + text))

    def _show_means(self) -> None:
        summary = summarise(load_run(self._store, self._run_id, users=False), num_resamples=0)
        self.means = render_table(means_table(summary), self.live.console.width)
        self._draw()

    def _draw(self) -> None:
        above: list[RenderableType] = [] if self.means is None else [self.means, ""]
        self.live.update(Group(*above, self._bars, self._stage))


class _ReplayLines:
    """A line for each cell, for logs."""

    def __init__(self, console: Console) -> None:
        self._console, self._time_left = console, TimeLeft(())

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._time_left = TimeLeft(event.cells)
        elif isinstance(event, CellFinished):
            self._time_left.finish(event)
            text = self._describe(event)
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _describe(self, event: CellFinished) -> str:
        name = event.name
        text = f"{event.num_done}/{event.num_cells} period {name.fit_period} {name.strategy} "
        text += f"{name.model} seed {name.seed}: "
        if event.cell is None:
            return text + "there already"
        text += format_figures(event.cell.figures) or "nobody could be evaluated"
        left = _format_left(self._time_left)
        seconds = format_seconds(sum(event.cell.stages.values()))
        return f"{text} ({seconds}{left and ', '}{left})"


def _format_left(time_left: TimeLeft) -> str:
    seconds = time_left.estimate()
    if not seconds:
        return ""
    return f"about {format_seconds(seconds) if seconds > 60 else f'{seconds:.0f} s'} left"
