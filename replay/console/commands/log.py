"""`ingest` and `periods`: what goes into the log of a store."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from replay.console.asked_log import given
from replay.console.parameters import (
    json_option,
    reading_options,
    store_option,
)

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@store_option("Made where absent.")
@reading_options
def ingest(files: tuple[Path, ...], store: Path, **reading: Any) -> None:
    """Make each FILE the next period of the log in --store.

    Reads Parquet, CSV, TSV (gzip too), MovieLens .dat, RecBole .inter and ADER's period_N.txt. A
    file goes in whole or not at all; one that is there already changes nothing.
    """
    from rich.console import Console

    from replay.console.screen import describe_ingest, show_bar
    from replay.opening import open_for_writing
    from storage.ingest import IngestSettings, ingest_period

    settings = IngestSettings(**given(reading))
    with open_for_writing(store) as opened, show_bar(Console(stderr=True)) as progress:
        for path in files:
            click.echo(describe_ingest(ingest_period(opened, path, settings, progress)))


@click.command()
@store_option("The store to look into.")
@json_option
def periods(store: Path, as_json: bool) -> None:
    """Show what is in a store, period by period."""
    from rich.console import Console

    from replay.opening import open_existing
    from replay.report.tables import render_periods
    from storage.periods import list_periods

    with open_existing(store) as opened:
        found = list_periods(opened)
    if as_json:
        click.echo(json.dumps({"periods": [dataclasses.asdict(period) for period in found]}))
    else:
        console = Console()
        console.print(render_periods(found, console.width))
