"""`titles`: what people call items."""

import json
from pathlib import Path

import click

from replay.console.parameters import json_option, store_option

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@store_option("The store whose items have these titles.")
@click.option("--item-column", metavar="NAME", help="Guessed from usual names if not given.")
@click.option("--title-column", metavar="NAME", help="Guessed from usual names if not given.")
@json_option
def titles(
    file: Path, store: Path, item_column: str | None, title_column: str | None, as_json: bool
) -> None:
    """Tell the store what people call its items, so that recommendations show it.

    Reads Parquet, CSV and TSV (gzip too) with an item and a title column, and MovieLens'
    movies.dat. All titles of FILE go in, or none; those of other items stay.
    """
    from replay.opening import open_existing
    from replay.titles import enter_titles

    with open_existing(store) as opened:
        entered = enter_titles(opened, file, item_column, title_column)
    if as_json:
        click.echo(json.dumps(entered.to_json()))
    else:
        click.echo(f"{file.name}: {entered.describe()}")
