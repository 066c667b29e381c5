"""`memory`: summaries in a store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.parameters import (
    NATURAL,
    POSITIVE,
    file_option,
    json_option,
    store_option,
    table_option,
)
from perennial.storage.opening import open_existing, open_for_reading

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place


# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.group()
def memory() -> None:
    """Summaries: synthetic users that stand for past periods."""


@memory.command(name="show")
@store_option("The store that holds the summaries.")
@json_option
def show_memory(store: Path, as_json: bool) -> None:
    """Show the summaries of a store, period by period."""
    from perennial.replay.cli.tables import describe_devices, render_summaries
    from perennial.replay.report.drawing import TerminalConsole
    from perennial.replay.summaries import show_summaries

    with open_for_reading(store) as opened:
        shown = show_summaries(opened)
    if as_json:
        click.echo(json.dumps({"summaries": [one.to_json() for one in shown]}, allow_nan=False))
    elif not shown:
        echo("no summary yet; `perennial replay --strategy distill-cf` makes them")
    else:
        TerminalConsole().print(render_summaries(shown))
        echo(describe_devices(shown))


@memory.command(name="export")
@store_option("The store that holds the summaries.")
@click.option("--period", type=POSITIVE, help="Only this period's.  [default: all]")
@click.option("--seed", type=NATURAL, help="Only summaries of this seed, as in `show`.")
@table_option()
@json_option
def export_memory(
    store: Path, period: int | None, seed: int | None, output: "Place", as_json: bool
) -> None:
    """Write summaries to a file, to train other models on.

    Its columns are summary, period, seed, synthetic_user, item_id and weight; the synthetic users
    of a summary are numbered in order of usefulness.
    """
    from perennial.replay.summaries import export_summaries

    with open_for_reading(store) as opened:
        count = export_summaries(opened, output, period=period, seed=seed)
    if as_json:
        click.echo(json.dumps({"output": str(output), "summaries": count}))
    else:
        echo(f"{output}: {count} {'summary' if count == 1 else 'summaries'}")


@memory.command(name="audit")
@store_option("The store that holds the summaries and the log.")
@click.option("--period", type=POSITIVE, help="Period of the summary.  [default: the newest]")
@click.option("--seed", type=NATURAL, help="Seed of the summary, as in `show`.")
@click.option("--audit-seed", type=NATURAL, default=0, help="Seed of the audit's own draws.")
@file_option(
    "--plot",
    text="A picture to write: .png, .svg or .pdf.",
    required=False,
    suffixes=(".png", ".svg", ".pdf"),
)
@json_option
def audit_memory(
    store: Path,
    period: int | None,
    seed: int | None,
    audit_seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure how well a summary hides the users it was made of.

    Compares each synthetic user with the nearest real one, and tries to distinguish users the
    summary was made of from users it was not made of.
    """
    from perennial.replay.cli.progress import show_distillation
    from perennial.replay.cli.tables import print_audit
    from perennial.replay.privacy_audit import audit_summary
    from perennial.replay.report.audit import save_audit_plot
    from perennial.replay.summaries import choose_summaries

    with open_existing(store) as opened, show_distillation() as listener:
        record = choose_summaries(opened, period, seed)[-1]
        audit = audit_summary(opened, record, audit_seed, listener)
    if plot is not None:
        save_audit_plot(audit, plot)
    if as_json:
        click.echo(json.dumps(audit.to_json(), allow_nan=False))
    else:
        from perennial.replay.report.drawing import TerminalConsole

        print_audit(audit, TerminalConsole())
