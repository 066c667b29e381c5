"""What the memory's commands show."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from replay.summaries import Shown


class DistillBar:
    """A bar with the step, the loss, the validation metric and the time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("distilling", total=None, judged="")

    def started(self, num_steps: int) -> None:
        """At most so many steps."""
        self._progress.update(self._task, total=num_steps)

    def step(self, step: int, loss: float | None, validation: float | None) -> None:
        """One step further; figures stay until there are newer ones."""
        self._progress.update(self._task, completed=step)
        if validation is not None:
            told = "" if loss is None else f"loss {loss:.4g}, "
            self._progress.update(self._task, judged=f"{told}validation HR@100 {validation:.2f}")


@contextmanager
def show_distillation(console: Console) -> Iterator[DistillBar]:
    """Draw the bar; nothing where no one watches."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[judged]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield DistillBar(progress)


def render_summaries(shown: tuple[Shown, ...]) -> Table:
    """One line for each summary."""
    table = Table(title="Summaries", title_justify="left", box=None, header_style="bold")
    table.add_column("period", no_wrap=True, min_width=6)
    # On a narrow screen the names give way, not the figures.
    widths = {
        "seed": 4,
        "users": 5,
        "non-zeros": 9,
        "density": 7,
        "loss": 6,
        "HR@100": 6,
        "time": 6,
    }
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("most weighted items", overflow="ellipsis", no_wrap=True)
    for one in shown:
        record, report = one.record, one.record.report
        first = "" if record.first_period == record.period else f"{record.first_period}–"
        table.add_row(
            f"{first}{record.period}",
            str(record.seed),
            f"{record.num_rows:,}",
            f"{record.num_entries:,}",
            f"{100 * record.density:.1f}%",
            _figure(report.get("loss"), ".3g"),
            _figure(report.get("validation"), ".2f"),
            f"{_figure(report.get('seconds'), '.1f')} s",
            ", ".join(str(item.item) for item in one.items),
        )
    return table


def describe_devices(shown: tuple[Shown, ...]) -> str:
    """Where the summaries were made, and what that took there and takes now."""
    devices = sorted({str(one.record.report.get("device", "unknown")) for one in shown})
    most = max(one.record.report.get("device_bytes", 0) for one in shown)
    stored = sum(one.record.stored_bytes for one in shown)
    return (
        f"made on {', '.join(devices)} with up to {most / 2**20:.0f} MiB there; "
        f"{stored / 2**20:.1f} MiB stored"
    )


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
