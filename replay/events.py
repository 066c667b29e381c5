"""Events of a replay; the command line shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perennial.storage.base import Progress
from perennial.storage.results.cells import Cell


@dataclass(frozen=True)
class CellName:
    """A fit and the period that it is evaluated on."""

    strategy: str
    model: str
    seed: int
    fit_period: int
    eval_period: int


@dataclass(frozen=True)
class RunStarted:
    """The run is recorded in the store; it will have these cells."""

    run_id: int
    cells: Sequence[CellName]


@dataclass(frozen=True)
class CellStarted:
    """The computation of a cell begins."""

    cell: CellName


@dataclass(frozen=True)
class StageMessage:
    """Progress of the fit or the evaluation of a cell, in a few words."""

    cell: CellName
    text: str


@dataclass(frozen=True)
class CellFinished:
    """A cell is in the store; `cell` is as recorded, or `None` if an earlier run recorded it."""

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


def listen_to_stages(progress: Progress) -> Listener:
    """Make a listener that sends the stages of fits and evaluations to a progress callback."""

    def listen(event: Event) -> None:
        if isinstance(event, StageMessage):
            progress(f"period {event.cell.fit_period}: {event.text}")

    return listen


def ignore_events(_event: Event) -> None:
    """Drop an event."""
