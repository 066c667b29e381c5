"""`status`, `periods` and `titles`: what is in a store."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.log_options import CutOptions, DownloadOptions, ReadingOptions
from perennial.replay.cli.options import options
from perennial.replay.cli.parameters import (
    POSITIVE,
    check_files,
    choose_source,
    json_option,
    place_option,
    store_option,
)
from perennial.storage.opening import open_existing, open_for_reading, require_store

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place
    from perennial.storage.store import Store

# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.command()
@store_option("The store to look into.")
@json_option
def status(store: Path, as_json: bool) -> None:
    """Show what is live in a store, how current it is and how good it has been.

    Changes nothing, and works while another process writes.
    """
    from perennial.replay.cli.tables import print_status
    from perennial.replay.live.status import read_status
    from perennial.replay.report.drawing import TerminalConsole

    with open_for_reading(store) as opened:
        read = read_status(opened)
    if as_json:
        click.echo(json.dumps(read.to_json(), allow_nan=False))
    else:
        print_status(read, TerminalConsole())


@click.group(invoke_without_command=True)
@store_option("The store to look into.", required=False, must_exist=False)
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
    require_store(store)

    from perennial.replay.report.drawing import TerminalConsole, render_table
    from perennial.replay.report.run_tables import periods_table
    from perennial.storage.log.periods import list_periods

    with open_for_reading(store) as opened:
        listed = list_periods(opened)
    if as_json:
        click.echo(json.dumps({"periods": [dataclasses.asdict(period) for period in listed]}))
    else:
        console = TerminalConsole()
        console.print(render_table(periods_table(listed), console.width))


@periods.command(name="export")
@options(cut=CutOptions)
@store_option("The store to export from, in place of SOURCE.", required=False, must_exist=False)
@click.option(
    "--period",
    "numbers",
    type=POSITIVE,
    multiple=True,
    help="Only this one; repeatable.  [default: all]",
)
@place_option("-o", "--output", text="Folder for the files; created if absent.")
@click.option(
    "--force",
    is_flag=True,
    help="Replace or remove every period-*.parquet in the folder, whatever it is.",
)
@options(reading=ReadingOptions, download=DownloadOptions)
def export_periods(
    cut: CutOptions,
    store: Path | None,
    numbers: tuple[int, ...],
    output: "Place",
    force: bool,
    reading: ReadingOptions,
    download: DownloadOptions,
) -> None:
    """Write one Parquet file per period, which `ingest` takes back.

    The periods are those of --store, or those that SOURCE (as for `replay`) is cut into. The files
    are called period-0001.parquet and so on, in the order of time.
    """
    if (cut.source is None) == (store is None):
        raise click.UsageError("give either SOURCE or --store", click.get_current_context())
    choose_source(cut.source)

    from perennial.replay.cli.progress import show_bar
    from perennial.replay.logs import LogRequest, open_to_export
    from perennial.storage.log.export import export_periods as write_periods

    request = LogRequest(
        download.folder,
        download.mirror,
        source=cut.source,
        store=store,
        cut=cut.cut,
        num_periods=cut.periods,
        reading=reading.changes,
    )
    with (
        show_bar() as progress,
        open_to_export(request, progress) as opened,
    ):
        written = write_periods(opened, output, numbers, force=force, progress=progress)
    for one in written:
        echo(f"{one.path}: {one.interactions:,} interactions")


@dataclass(frozen=True)
class EnteredTitles:
    """Changes of the store by a file of titles.

    Attributes:
        unknown: of the titles, those of items that are not in the store yet; kept for later.
        repeated: rows that replaced the title of an earlier row.
        empty: rows without an item or a title, left out.
        cut: titles that were too long.
    """

    titles: int
    unknown: int
    repeated: int
    empty: int
    cut: int
    in_store: int

    def describe(self) -> str:
        """Describe the changes in one line."""
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
    store: "Store", path: Path, item_column: str | None = None, title_column: str | None = None
) -> EnteredTitles:
    """Read a file and enter its titles in one transaction, or nothing, as `read_titles_file`."""
    import numpy as np

    from perennial.storage.log.vocabulary import lookup_items, write_titles
    from perennial.storage.reading.titles import read_titles_file

    file = read_titles_file(path, item_column, title_column)
    known = lookup_items(store, list(file.titles))
    in_store = write_titles(store, file.titles)
    return EnteredTitles(
        titles=len(file.titles),
        unknown=int(np.count_nonzero(known < 0)),
        repeated=file.repeated,
        empty=file.empty,
        cut=file.cut,
        in_store=in_store,
    )


@click.command()
@click.argument(
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=lambda _context, _parameter, file: check_files((file,))[0],
)
@store_option("The store whose items have these titles.")
@click.option("--item-column", metavar="NAME", help="Guessed from usual names if not given.")
@click.option("--title-column", metavar="NAME", help="Guessed from usual names if not given.")
@json_option
def titles(
    file: Path, store: Path, item_column: str | None, title_column: str | None, as_json: bool
) -> None:
    """Add titles of items to a store, so that recommendations show them.

    Reads Parquet, CSV and TSV (gzip too) with an item and a title column, and MovieLens'
    movies.dat. All titles of FILE go in, or none; those of other items stay.
    """
    with open_existing(store) as opened:
        entered = enter_titles(opened, file, item_column, title_column)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(entered)))
    else:
        echo(f"{file.name}: {entered.describe()}")
