"""`periods`: what is in the log of a store."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.replay.cli.options import (
    cut_options,
    download_options,
    json_option,
    place_option,
    reading_options,
    store_option,
)
from perennial.replay.cli.requests import default_cache

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.group(invoke_without_command=True)
@store_option("The store to look into.", required=False)
@json_option
@click.pass_context
def periods(context: click.Context, store: Path | None, as_json: bool) -> None:
    """Show what is in a store, period by period."""
    if context.invoked_subcommand is not None:
        if store is not None or as_json:
            raise click.UsageError(f"give options after {context.invoked_subcommand}", context)
        return
    if store is None:
        raise click.UsageError("Missing option '--store'.", context)

    from rich.console import Console

    from perennial.replay.logs import open_for_reading
    from perennial.replay.report.terminal import render_periods
    from perennial.storage.log.periods import list_periods

    with open_for_reading(store) as opened:
        found = list_periods(opened)
    if as_json:
        click.echo(json.dumps({"periods": [dataclasses.asdict(period) for period in found]}))
    else:
        console = Console()
        console.print(render_periods(found, console.width))


@periods.command(name="export")
@cut_options
@store_option("The store to export from, in place of SOURCE.", required=False)
@click.option(
    "--period",
    "numbers",
    type=click.IntRange(min=1),
    multiple=True,
    help="Only this one; repeatable.  [default: all]",
)
@place_option("-o", "--output", text="Where the files go; made where absent.", is_folder=True)
@click.option(
    "--force",
    is_flag=True,
    help="Replace or remove every period-*.parquet in the folder, whatever it is.",
)
@reading_options
@download_options
def export_periods(
    numbers: tuple[int, ...],
    output: "Place",
    force: bool,
    cache: Path | None,
    mirror: str | None,
    **asked: Any,
) -> None:
    """Write one Parquet file per period, which `ingest` takes back.

    The periods are those of --store, or those that SOURCE (as for `replay`) is cut into. The files
    are called period-0001.parquet and so on, in the order of time.
    """
    if (asked["source"] is None) == (asked["store"] is None):
        raise click.UsageError("give either SOURCE or --store", click.get_current_context())

    from rich.console import Console

    from perennial.replay.cli.progress import show_bar
    from perennial.replay.cli.requests import asked_log
    from perennial.replay.logs import open_to_export
    from perennial.storage.log.export import export_periods as write_periods

    with show_bar(Console(stderr=True)) as progress:
        opening = open_to_export(
            asked_log(asked), cache=cache or default_cache(), mirror=mirror, progress=progress
        )
        with opening as store:
            written = write_periods(store, output, numbers, force=force, progress=progress)
    for one in written:
        click.echo(f"{one.path}: {one.interactions:,} interactions")
