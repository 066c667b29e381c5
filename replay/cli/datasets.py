"""`datasets`: data sets that have a name."""

from pathlib import Path

import click

from perennial.replay.cli.options import cache_option, download_options
from perennial.replay.cli.requests import default_cache
from perennial.stream.sources.registry import SOURCES, describe_sources, open_source

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.group()
def datasets() -> None:
    """Data sets that have a name."""


@datasets.command(name="list")
@cache_option
def list_datasets(cache: Path | None) -> None:
    """List the data sets that `replay` knows by name."""
    from rich.console import Console

    from perennial.replay.cli.progress import print_sources

    print_sources(describe_sources(cache or default_cache()), Console())


@datasets.command(name="download")
@click.argument("name", type=click.Choice(tuple(SOURCES)))
@download_options
def download_dataset(name: str, cache: Path | None, mirror: str | None) -> None:
    """Fetch a data set into the cache, verify its checksum, and print where its files are.

    A download that broke off goes on where it stopped.
    """
    from rich.console import Console

    from perennial.replay.cli.progress import show_bar

    with show_bar(Console(stderr=True)) as progress:
        log = open_source(name, cache=cache or default_cache(), mirror=mirror, progress=progress)
    for path in log.paths:
        click.echo(path)
