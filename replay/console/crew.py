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
def watch_crew(console: Console) -> Iterator[Watch]:
    """A bar for each task at work on a terminal; elsewhere a line per task and refit.

    Args:
        console: writes to stderr, so that results keep stdout for themselves.
    """
    if not console.is_terminal:
        yield lambda event: _print_line(console, event)
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
        yield _Bars(bars)


class _Bars:
    """One bar per task."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._of: dict[str, TaskID] = {}

    def __call__(self, event: TaskEvent) -> None:
        name = event.task.name
        if event.kind == "begun":
            if name in self._of:
                self._bars.remove_task(self._of[name])
            self._of[name] = self._bars.add_task(name, total=event.task.num_cells, doing="starting")
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


def _print_line(console: Console, event: TaskEvent) -> None:
    """For logs."""
    text = None
    if event.kind in ("begun", "done"):
        text = f"{event.task.name}: {event.kind}"
    elif event.kind == "lost":
        text = _lost(event)
    elif event.kind == "finished" and (event.details["seconds"] or 0.0) >= _SHORTEST:
        cell = event.details["cell"]
        text = f"{event.task.name}: period {cell['fit_period']} {cell['model']} ("
        text += f"{format_seconds(event.details['seconds'])})"
    if text is not None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _lost(event: TaskEvent) -> str:
    return f"{event.task.name}: its worker {event.pid} died; another goes on from what it made"
