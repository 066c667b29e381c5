"""What a person sees while the workers of a study are at work."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from replay.report.content import format_seconds
from replay.study.crew import TaskEvent, Watch

_SHORTEST = 0.05
"""Seconds of a cell that is worth a line: a fit is asked many questions for transfer."""


@contextmanager
def watch_crew(console: Console, num_tasks: int = 0) -> Iterator[Watch]:
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
        if event.kind == "begun":
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
        if event.kind == "begun":
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
