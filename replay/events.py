"""What the replay says while it runs; the command line draws it."""

from collections.abc import Callable
from dataclasses import dataclass

from perennial.storage.progress import Progress
from perennial.storage.results.cells import Cell


@dataclass(frozen=True)
class CellName:
    """Which refit is meant, and which period it is judged on."""

    strategy: str
    model: str
    seed: int
    fit_period: int
    eval_period: int


@dataclass(frozen=True)
class RunStarted:
    """The run is entered in the store.

    Attributes:
        num_cells: cells that it will have.
        num_periods: P of the log.
    """

    run_id: int
    num_cells: int
    num_periods: int


@dataclass(frozen=True)
class CellStarted:
    """A cell that is not in the store yet is being made; `num_done` are finished before it."""

    cell: CellName
    num_done: int
    num_cells: int


@dataclass(frozen=True)
class StageMessage:
    """A few words from within a cell: what the fit or the evaluation is doing."""

    cell: CellName
    text: str


@dataclass(frozen=True)
class CellFinished:
    """A cell is in the store.

    Attributes:
        name: which one.
        num_done: cells finished, this one included.
        num_cells: cells the run will have.
        cell: what was recorded; `None` if it was there from an earlier run.
    """

    name: CellName
    num_done: int
    num_cells: int
    cell: Cell | None


@dataclass(frozen=True)
class RunFinished:
    """All cells of the run are in the store."""

    run_id: int


Event = RunStarted | CellStarted | StageMessage | CellFinished | RunFinished
Listener = Callable[[Event], None]


def report_stages(listener: Listener, cell: CellName) -> Progress:
    """Make a progress callback that sends each message to a listener as a stage of a cell."""

    def progress(message: str, _done: int = 0, _total: int | None = None, /) -> None:
        listener(StageMessage(cell, message))

    return progress


def ignore_events(_event: Event) -> None:
    """Drop an event."""
