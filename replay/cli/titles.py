"""`titles`: what people call items."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from perennial.replay.cli.options import json_option, store_option
from perennial.storage.log.vocabulary import lookup_items, write_titles
from perennial.storage.reading.titles import read_titles_file
from perennial.storage.store import Store


@dataclass(frozen=True)
class EnteredTitles:
    """What a file of titles changed.

    Attributes:
        titles: items that the file names.
        unknown: of these, items that the store has not met yet; their titles wait.
        repeated: rows whose item had a title already, which the later one replaced.
        empty: rows without an item or a title, left out.
        cut: titles that were too long.
        in_store: titles in the store now.
    """

    titles: int
    unknown: int
    repeated: int
    empty: int
    cut: int
    in_store: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def describe(self) -> str:
        """In one line."""
        remarks = [
            f"{count:,} {what}"
            for count, what in (
                (self.unknown, "of items that the store has not met yet"),
                (self.empty, "rows without an item or a title left out"),
                (self.repeated, "rows replaced an earlier one of the same item"),
                (self.cut, "cut short"),
            )
            if count
        ]
        return f"{self.titles:,} titles" + "".join(f"; {remark}" for remark in remarks)


def enter_titles(
    store: Store, path: Path, item_column: str | None = None, title_column: str | None = None
) -> EnteredTitles:
    """Read a file and enter its titles in one transaction, replacing those of the same items.

    Args:
        store: open for writing.
        path: as for `perennial.storage.reading.titles.read_titles_file`.
        item_column: guessed if not told.
        title_column: likewise.

    Raises:
        UserError: the file cannot be read; nothing has changed.
    """
    found = read_titles_file(path, item_column, title_column)
    known = lookup_items(store, list(found.titles))
    in_store = write_titles(store, found.titles)
    return EnteredTitles(
        titles=len(found.titles),
        unknown=int(np.count_nonzero(known < 0)),
        repeated=found.repeated,
        empty=found.empty,
        cut=found.cut,
        in_store=in_store,
    )


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
    from perennial.replay.logs import open_existing

    pass

    with open_existing(store) as opened:
        entered = enter_titles(opened, file, item_column, title_column)
    if as_json:
        click.echo(json.dumps(entered.to_json()))
    else:
        click.echo(f"{file.name}: {entered.describe()}")
