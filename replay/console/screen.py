"""What commands show besides a running replay."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from replay.report.against import against_tables, tell_against
from replay.report.content import headline
from replay.report.run_comparison import RunComparison
from replay.report.tables import render_differences, render_means, render_table
from replay.summary import Summary
from storage.ingest import IngestReport
from storage.progress import Progress as Report
from stream.sources.registry import SourceDescription


@contextmanager
def show_bar(console: Console) -> Iterator[Report]:
    """A bar for anything that tells how far it is; nothing is drawn where no one watches."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    silent = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=silent
    ) as bars:
        task = bars.add_task("", total=None)

        def show(what: str, done: int, total: int | None) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield show


@contextmanager
def show_status(console: Console) -> Iterator[Callable[[str], None]]:
    """A spinner with a few words, for work of unknown length."""
    with console.status("") as status:
        yield lambda text: status.update(escape(text))


def describe_ingest(report: IngestReport) -> str:
    """An ingestion in one line."""
    names = ", ".join(path.name for path in report.paths)
    where = _name_periods(report.periods)
    if report.already_ingested:
        return f"{names}: already in the store as {where}; nothing changed"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.reject_reasons.items())
    return (
        f"{names}: {where}, {report.interactions:,} interactions from {report.lines:,} lines; "
        f"{report.merged:,} equal rows merged, {report.rejected:,} bad lines rejected"
        + (f" ({reasons})" if reasons else "")
    )


def _name_periods(periods: Sequence[int]) -> str:
    if not periods:
        return "part of earlier periods"
    first, last = periods[0], periods[-1]
    if first == last:
        return f"period {first}"
    if len(periods) == last - first + 1:
        return f"periods {first} to {last}"
    return f"periods {', '.join(str(one) for one in periods[:-1])} and {last}"


def print_summary(summary: Summary, console: Console) -> None:
    """The tables of a run and what they say."""
    console.print(render_means(summary, console.width))
    differences = render_differences(summary, console.width)
    if differences is not None:
        console.print()
        console.print(differences)
    if summary.config["status"] not in ("finished", "live"):
        console.print("The run is not finished: means are over the periods that are there.")
    for sentence in headline(summary):
        console.print(sentence, markup=False, highlight=False)


def print_against(against: RunComparison, summary: Summary, console: Console) -> None:
    """What a change of the settings has done."""
    for table in against_tables(against, summary):
        console.print()
        console.print(render_table(table, console.width))
    for sentence in tell_against(against, summary):
        console.print(sentence, markup=False, highlight=False)


def print_sources(sources: tuple[SourceDescription, ...], console: Console) -> None:
    """The data sets that have a name, a short paragraph each."""
    for one in sources:
        console.print(Text.assemble((one.name, "bold"), f": {one.state}"))
        about = f"{one.summary}. {one.size}. Licence: {one.licence}."
        console.print(Padding(Text(about), (0, 0, 0, 4)))
