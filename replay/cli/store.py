"""`status`, `runs`, `periods` and `titles`: what is in a store."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.log_options import (
    COLUMN,
    CutOptions,
    DownloadOptions,
    FormOptions,
    ReadingOptions,
)
from perennial.replay.cli.options import options
from perennial.replay.cli.parameters import (
    POSITIVE,
    PlaceType,
    choose_source,
    json_option,
    place_option,
    store_option,
    wait_option,
)
from perennial.storage.objects.bucket import check_files
from perennial.storage.opening import open_existing, open_for_reading, require_store

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place
    from perennial.storage.reading.titles import TitlesFile
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


def _take_store(context: click.Context, store: Path | None, as_json: bool) -> Path | None:
    """Return the store of a group that is a command itself; `None` if a subcommand follows.

    Raises:
        click.UsageError: options before a subcommand, or no store without one.
    """
    if context.invoked_subcommand is not None:
        if store is not None or as_json:
            raise click.UsageError(f"give options after {context.invoked_subcommand}", context)
        return None
    if store is None:
        raise click.UsageError("Missing option '--store'.", context)
    require_store(store)
    return store


@click.group(invoke_without_command=True)
@store_option("The store to look into.", required=False, must_exist=False)
@json_option
@click.pass_context
def runs(context: click.Context, store: Path | None, as_json: bool) -> None:
    """List the runs of a store: their settings, when they began and how far they are."""
    store = _take_store(context, store, as_json)
    if store is None:
        return

    from perennial.replay.analysis.run import show_runs
    from perennial.replay.report.drawing import TerminalConsole, print_table
    from perennial.replay.report.run_tables import runs_table

    with open_for_reading(store) as opened:
        shown = show_runs(opened)
    if as_json:
        click.echo(json.dumps({"runs": [one.to_json() for one in shown]}, allow_nan=False))
    elif not shown:
        echo("no run yet; `perennial replay --store` makes one")
    else:
        print_table(runs_table(shown), TerminalConsole())


@runs.command(name="delete")
@click.argument("run_id", metavar="RUN", type=POSITIVE)
@store_option("The store that holds the run.")
@wait_option
@json_option
def delete_one_run(run_id: int, store: Path, wait: float, as_json: bool) -> None:
    """Delete a run by its number, and all results that only it uses.

    Summaries stay. The run of the live model is refused.
    """
    from perennial.storage.results.runs import delete_run

    with open_existing(store, wait) as opened:
        deleted = delete_run(opened, run_id)
    if as_json:
        click.echo(json.dumps({"run": run_id, **dataclasses.asdict(deleted)}))
    else:
        echo(
            f"run {run_id}: deleted, with all that only it used (cells: {deleted.cells:,}, fits: "
            f"{deleted.fits:,}, models: {deleted.models:,})"
        )


@click.group(invoke_without_command=True)
@store_option("The store to look into.", required=False, must_exist=False)
@json_option
@click.pass_context
def periods(context: click.Context, store: Path | None, as_json: bool) -> None:
    """Show what is in a store, period by period."""
    store = _take_store(context, store, as_json)
    if store is None:
        return

    from perennial.replay.report.drawing import TerminalConsole, print_table
    from perennial.replay.report.run_tables import periods_table
    from perennial.storage.log.periods import list_periods

    with open_for_reading(store) as opened:
        listed = list_periods(opened)
    if as_json:
        click.echo(json.dumps({"periods": [dataclasses.asdict(period) for period in listed]}))
    else:
        print_table(periods_table(listed), TerminalConsole())


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
@json_option
@options(reading=ReadingOptions, download=DownloadOptions)
def export_periods(
    cut: CutOptions,
    store: Path | None,
    numbers: tuple[int, ...],
    output: "Place",
    force: bool,
    as_json: bool,
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
    with show_bar() as progress, open_to_export(request, progress) as opened:
        written = write_periods(opened, output, numbers, force=force, progress=progress)
    if as_json:
        files = [{**vars(one), "path": str(one.path)} for one in written]
        click.echo(json.dumps({"files": files}))
        return
    for one in written:
        echo(f"{one.path}: {one.interactions:,} interactions")


@dataclass(frozen=True)
class EnteredTitles:
    """Changes of the store by a file of titles.

    `unknown` of its titles are of items that are not in the store yet; they are kept for later.
    """

    file: "TitlesFile"
    unknown: int
    in_store: int

    def describe(self) -> str:
        """Describe the changes in one line."""
        counts = self.file.rejects.counts().items()
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts)
        remarks = [
            f"{count:,} {what}"
            for count, what in (
                (self.unknown, "of items that the store has not met yet"),
                (self.file.empty, "rows without an item or a title left out"),
                (self.file.repeated, "rows replaced an earlier one of the same item"),
                (self.file.cut, "cut short"),
                (len(self.file.rejects), f"bad lines rejected ({reasons})"),
            )
            if count
        ]
        return f"{len(self.file.titles):,} titles" + "".join(f"; {remark}" for remark in remarks)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        file = self.file
        return {
            "titles": len(file.titles),
            "unknown": self.unknown,
            "repeated": file.repeated,
            "empty": file.empty,
            "cut": file.cut,
            "rejected": len(file.rejects),
            "reject_reasons": file.rejects.counts(),
            "in_store": self.in_store,
            "read_as": file.to_json(),
            "remarks": list(file.remarks),
        }


def enter_titles(store: "Store", file: "TitlesFile") -> EnteredTitles:
    """Enter the titles of a file in one transaction, replacing those of the same items."""
    import numpy as np

    from perennial.storage.log.vocabulary import lookup_items, write_titles

    known = lookup_items(store, list(file.titles))
    return EnteredTitles(file, int(np.count_nonzero(known < 0)), write_titles(store, file.titles))


@click.command()
@click.argument(
    "file",
    metavar="FILE",
    type=PlaceType(),
    callback=lambda _context, _parameter, file: check_files((file,))[0],
)
@store_option("The store whose items have these titles.")
@click.option("--item-column", metavar="NAME", help=COLUMN)
@click.option("--title-column", metavar="NAME", help=COLUMN)
@options(form=FormOptions)
@json_option
def titles(
    file: "Place",
    store: Path,
    item_column: str | None,
    title_column: str | None,
    form: FormOptions,
    as_json: bool,
) -> None:
    """Add titles of items to a store, so that recommendations show them.

    Reads all formats of `ingest`, here or at an address such as s3://BUCKET/KEY, with an item and a
    title column. All titles of FILE go in, or none; those of other items stay.
    """
    from perennial.storage.objects.copies import local_copies
    from perennial.storage.reading.titles import read_titles_file

    with open_existing(store) as opened, local_copies((file,), store.parent) as (path,):
        read = read_titles_file(path, item_column, title_column, form.to_settings())
        entered = enter_titles(opened, read)
    if as_json:
        click.echo(json.dumps(entered.to_json()))
    else:
        for line in (f"{file.name}: {read.describe()}", *(f"note: {one}" for one in read.remarks)):
            echo(line, err=True)
        echo(f"{file.name}: {entered.describe()}")
