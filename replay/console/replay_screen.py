"""What a person sees while a replay runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from replay.progress import (
    CellFinished,
    CellName,
    CellStarted,
    Event,
    Listener,
    RunStarted,
    StageMessage,
)
from replay.report.content import format_figures, format_seconds
from replay.report.tables import render_means
from replay.run_data import load_run
from replay.summary import summarise
from storage.store import Store


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
