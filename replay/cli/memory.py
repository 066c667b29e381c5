"""`memory`: summaries in a store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
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

from perennial.memory.distill.summary import DistillListener, report_steps
from perennial.memory.privacy import LEVELS, percentiles
from perennial.replay.cli.options import file_option, json_option, place_option, store_option
from perennial.replay.privacy_audit import Audit
from perennial.replay.summaries import SummaryView

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place


@contextmanager
def show_distillation(console: Console) -> Iterator[DistillListener]:
    """Draw a bar with the step, the loss, the validation and the time left."""
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


def render_summaries(shown: tuple[SummaryView, ...]) -> Table:
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


def describe_devices(shown: tuple[SummaryView, ...]) -> str:
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


def print_audit(audit: Audit, console: Console) -> None:
    """Both questions, their figures, and what they do not say."""
    record = audit.record
    stretch = (
        f"period {record.period}"
        if record.first_period == record.period
        else f"periods {record.first_period}–{record.period}"
    )
    sampled = "" if audit.users == audit.users_given else f", a sample of {audit.users_given:,}"
    console.print(
        f"{record.num_rows:,} synthetic users of {stretch}, seed {record.seed}, beside "
        f"{audit.users:,} real ones{sampled}\n"
    )
    console.print(_nearness(audit))
    console.print(
        f"{100 * audit.nearness.nearer_than_real:.1f}% of the synthetic users come nearer to a "
        "real user than 95% of the real ones do.\n"
    )
    console.print(_membership(audit))
    console.print(
        f"A summary of {audit.half:,} synthetic users was made of one half of the users, and the "
        "halves told apart by the distance to it. 0.5 is a coin. This is one simple attack: a "
        "better one may tell more, and no figure here is a promise of privacy."
    )


def _nearness(audit: Audit) -> Table:
    table = Table(
        title="Jaccard similarity to the nearest user",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    table.add_column("percentile", no_wrap=True)
    for level in LEVELS:
        table.add_column(str(level), justify="right", no_wrap=True)
    rows = {
        "synthetic to real": audit.nearness.synthetic,
        "real to another half": audit.nearness.real,
    }
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.3f}" for value in percentiles(values)))
    return table


def _membership(audit: Audit) -> Table:
    table = Table(title="Who was in the log?", title_justify="left", box=None, header_style="bold")
    for name in ("told by", "AUC", "95% interval"):
        table.add_column(name, no_wrap=True)
    for test in audit.membership:
        table.add_row(test.similarity, f"{test.auc:.3f}", f"{test.low:.3f} to {test.high:.3f}")
    return table


# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.group()
def memory() -> None:
    """What is remembered of past periods: summaries of synthetic users."""


@memory.command(name="show")
@store_option("The store that holds the summaries.")
@json_option
def show_memory(store: Path, as_json: bool) -> None:
    """Show the summaries of a store, period by period."""
    from rich.console import Console

    pass
    from perennial.replay.logs import open_for_reading
    from perennial.replay.summaries import show_summaries

    with open_for_reading(store) as opened:
        shown = show_summaries(opened)
    if as_json:
        click.echo(json.dumps({"summaries": [one.to_json() for one in shown]}, allow_nan=False))
    elif not shown:
        click.echo("no summary yet; `perennial replay --strategy distill-cf` makes them")
    else:
        Console().print(render_summaries(shown))
        click.echo(describe_devices(shown))


@memory.command(name="export")
@store_option("The store that holds the summaries.")
@click.option("--period", type=click.IntRange(min=1), help="Only this period's.  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), help="Only this seed's, as `show` has it.")
@place_option("-o", "--output", text="The Parquet file to write.")
def export_memory(store: Path, period: int | None, seed: int | None, output: "Place") -> None:
    """Write summaries to a Parquet file, to train other models on.

    Its columns are summary, period, seed, synthetic_user, item_id and weight; the synthetic users
    of a summary are numbered in order of usefulness.
    """
    from perennial.replay.logs import open_for_reading
    from perennial.replay.summaries import export_summaries

    with open_for_reading(store) as opened:
        count = export_summaries(opened, output, period=period, seed=seed)
    click.echo(f"{output}: {count} {'summary' if count == 1 else 'summaries'}")


@memory.command(name="audit")
@store_option("The store that holds the summaries and the log.")
@click.option("--period", type=click.IntRange(min=1), help="Whose summary.  [default: the newest]")
@click.option("--seed", type=click.IntRange(min=0), help="The summary's, as `show` has it.")
@click.option(
    "--audit-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the draws of the audit itself.",
)
@file_option("--plot", text="A picture to write, such as audit.png.", required=False)
@json_option
def audit_memory(
    store: Path,
    period: int | None,
    seed: int | None,
    audit_seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Tell how far a summary hides the users it was made of.

    Compares each synthetic user with the nearest real one, and tries to tell users the summary was
    made of from users it was not made of.
    """
    from rich.console import Console

    from perennial.replay.privacy_audit import audit_summary

    pass
    pass
    from perennial.replay.logs import open_existing
    from perennial.replay.report.audit import save_audit_plot
    from perennial.replay.summaries import choose_summaries

    with open_existing(store) as opened, show_distillation(Console(stderr=True)) as listener:
        record = choose_summaries(opened, period, seed)[-1]
        found = audit_summary(opened, record, audit_seed, listener)
    if plot is not None:
        save_audit_plot(found, plot)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_audit(found, Console())
