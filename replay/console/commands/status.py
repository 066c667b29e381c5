"""`status`: the state of a live store at a glance."""

import json
from pathlib import Path

import click

from replay.console.parameters import json_option, store_option

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
@store_option("The store to look into.")
@json_option
def status(store: Path, as_json: bool) -> None:
    """Show what is live in a store, how current it is and how good it has been.

    Changes nothing, and works while another process writes.
    """
    from rich.console import Console

    from replay.console.live_status import print_status
    from replay.live_status import read_status
    from replay.opening import open_for_reading

    with open_for_reading(store) as opened:
        found = read_status(opened)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_status(found, Console())
