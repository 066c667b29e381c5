"""`datasets`, `cache`, `distill` and `sample`: commands without a store."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from perennial.memory.samplers.registry import SAMPLERS
from perennial.replay.cli.errors import echo
from perennial.replay.cli.log_options import (
    DownloadOptions,
    ReadingOptions,
    ReadingPrinter,
)
from perennial.replay.cli.options import options
from perennial.replay.cli.parameters import (
    NATURAL,
    POSITIVE,
    cache_option,
    choose_source,
    json_option,
    seed_option,
    source_argument,
    table_option,
)
from perennial.storage.compile_cache import cache_folder, clear_compile_cache
from perennial.stream.sources.registry import SOURCES, open_source

if TYPE_CHECKING:
    from perennial.storage.objects.bucket import Place
    from perennial.stream.sources.base import LogFiles

# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.group()
def datasets() -> None:
    """Data sets that have a name."""


@datasets.command(name="list")
@cache_option
@json_option
def list_datasets(cache: Path | None, as_json: bool) -> None:
    """List the data sets that `replay` takes by name."""
    sources = [SOURCES.load(name) for name in SOURCES]
    states = [source.state(cache or cache_folder()) for source in sources]
    if as_json:
        listed = [
            {"name": source.name, "state": state, **asdict(source.info)}
            for source, state in zip(sources, states, strict=True)
        ]
        click.echo(json.dumps({"datasets": listed}))
        return
    from rich.padding import Padding
    from rich.text import Text

    from perennial.replay.report.drawing import TerminalConsole

    console = TerminalConsole()
    for source, state in zip(sources, states, strict=True):
        console.print(Text.assemble((source.name, "bold"), f": {state}"))
        about = f"{source.info.summary}. {source.info.size}. Licence: {source.info.licence}."
        console.print(Padding(Text(about), (0, 0, 0, 4)))


@datasets.command(name="download")
@click.argument("name", type=click.Choice(tuple(SOURCES)))
@options(download=DownloadOptions)
@json_option
def download_dataset(name: str, download: DownloadOptions, as_json: bool) -> None:
    """Fetch a data set into the cache, verify its checksum, and print where its files are.

    A download that broke off resumes where it stopped.
    """
    from perennial.replay.cli.progress import show_bar

    with show_bar() as progress:
        log = open_source(name, cache=download.folder, mirror=download.mirror, progress=progress)
    if as_json:
        click.echo(json.dumps({"name": name, "files": [str(path) for path in log.paths]}))
        return
    for path in log.paths:
        echo(path)


@click.group()
def cache() -> None:
    """Compiled code in the user's cache folder."""


@cache.command(name="clear")
@json_option
def clear_cache(as_json: bool) -> None:
    """Delete the compiled code that commands keep for the next ones; data sets stay."""
    size = clear_compile_cache()
    echo(json.dumps({"bytes": size}) if as_json else f"{size:,} bytes of compiled code deleted")


@click.command(name="distill")
@source_argument(required=True)
@table_option()
@click.option("--users", type=POSITIVE, default=500, help="Synthetic users to make.")
@seed_option
@click.option(
    "--method",
    type=click.Choice(("sparse", "paper")),
    default="sparse",
    help="Learn sparse weights, or the authors' Gumbel-sampled prior.",
)
@click.option(
    "--max-items",
    type=NATURAL,
    help="Most items of a synthetic user; 0 for any.  [default: 200, any with paper]",
)
@click.option(
    "--export",
    type=click.Choice(("soft", "hard")),
    default="soft",
    help="Keep weights in (0, 1], or make them 1.",
)
@click.option("--steps", type=POSITIVE, help="Steps at most.  [default: 100, 500 with paper]")
@json_option
@options(reading=ReadingOptions, download=DownloadOptions)
def distill_source(
    source: str,
    output: "Place",
    users: int,
    seed: int,
    method: Literal["sparse", "paper"],
    max_items: int | None,
    export: Literal["soft", "hard"],
    steps: int | None,
    as_json: bool,
    reading: ReadingOptions,
    download: DownloadOptions,
) -> None:
    """Distil a whole log, whatever its periods, into a few synthetic users.

    SOURCE is as for `replay`. The columns of the file are synthetic_user, item_id and weight. A
    tenth of the interactions is held out for validation. Ctrl-C keeps the best so far.
    """
    choose_source(source)

    from perennial.replay.cli.progress import show_distillation
    from perennial.replay.whole_log import DistillRequest, distill_to_file

    request = DistillRequest(users, seed, method, max_items, export, steps, reading.changes)
    printer = ReadingPrinter()
    with ExitStack() as stack:
        log = _open(stack, source, output, download)
        listener = stack.enter_context(show_distillation())
        report = distill_to_file(log, request, output, listener, printer)
    if as_json:
        click.echo(json.dumps({**report, **printer.to_json()}, allow_nan=False))
        return
    echo(
        f"{output}: {report['synthetic_users']} synthetic users, {report['non_zeros']:,} weights"
        + (", cut short" if report["interrupted"] else "")
    )


@click.command(name="sample")
@source_argument(required=True)
@click.option(
    "--sampler",
    type=click.Choice(tuple(SAMPLERS)),
    default="user-rns",
    help="Sampler that chooses the users.",
)
@table_option()
@click.option("--users", type=POSITIVE, default=500, help="Users to keep at most.")
@seed_option
@options(reading=ReadingOptions)
@json_option
@options(download=DownloadOptions)
def sample_log(
    source: str,
    sampler: str,
    output: "Place",
    users: int,
    seed: int,
    as_json: bool,
    reading: ReadingOptions,
    download: DownloadOptions,
) -> None:
    """Keep a few real users of a whole log: the baselines of `distill`.

    SOURCE is as for `replay`. The columns of the file are user_id and item_id.
    """
    choose_source(source)

    from perennial.replay.whole_log import SampleRequest, sample_to_file

    printer = ReadingPrinter()
    with ExitStack() as stack:
        log = _open(stack, source, output, download)
        request = SampleRequest(sampler, users, seed, reading.changes)
        report = sample_to_file(log, request, output, printer)
    if as_json:
        click.echo(json.dumps({**report, **printer.to_json()}, allow_nan=False))
        return
    echo(
        f"{output}: {report['users']:,} of {report['users_given']:,} users, "
        f"{report['interactions']:,} of {report['interactions_given']:,} interactions"
    )


def _open(stack: ExitStack, source: str, output: "Place", download: DownloadOptions) -> "LogFiles":
    """Open the files of a log; copies of remote ones are next to the output until the end."""
    from perennial.replay.cli.progress import show_bar
    from perennial.stream.sources.object_storage import open_local_source

    folder = output.parent if isinstance(output, Path) else Path()
    with show_bar() as progress:
        return stack.enter_context(
            open_local_source(
                source, folder, cache=download.folder, mirror=download.mirror, progress=progress
            )
        )
