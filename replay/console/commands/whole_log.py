"""`distill` and `sample`: a whole log made small, whatever its periods."""

import json
from pathlib import Path
from typing import Any, Literal

import click

from memory.samplers.registry import SAMPLERS
from replay.console.asked_log import default_cache, given
from replay.console.parameters import (
    download_options,
    file_option,
    json_option,
    reading_options,
    seed_option,
)
from stream.sources.registry import open_source

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command(name="distill")
@click.argument("source")
@file_option("-o", "--output", text="The Parquet file to write.")
@click.option(
    "--users",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Synthetic users to make.",
)
@seed_option
@click.option(
    "--method",
    type=click.Choice(("sparse", "paper")),
    default="sparse",
    show_default=True,
    help="Learn sparse weights, or the authors' Gumbel-sampled prior.",
)
@click.option(
    "--max-items",
    type=click.IntRange(min=0),
    help="Most items of a synthetic user; 0 for any.  [default: 200, any with paper]",
)
@click.option(
    "--export",
    type=click.Choice(("soft", "hard")),
    default="soft",
    show_default=True,
    help="Keep weights in (0, 1], or make them 1.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps at most.  [default: 100, 500 with paper]"
)
@json_option
@reading_options
@download_options
def distill_source(
    source: str,
    output: Path,
    users: int,
    seed: int,
    method: Literal["sparse", "paper"],
    max_items: int | None,
    export: Literal["soft", "hard"],
    steps: int | None,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **reading: Any,
) -> None:
    """Distil a whole log, whatever its periods, into a few synthetic users.

    SOURCE is as for `replay`. The columns of the file are synthetic_user, item_id and weight. A
    tenth of the interactions is held out to judge by. Ctrl-C keeps the best so far.
    """
    from rich.console import Console

    from replay.console.memory import show_distillation
    from replay.console.screen import show_bar
    from replay.distilling import DistillRequest, distill_to_file

    request = DistillRequest(source, users, seed, method, max_items, export, steps, given(reading))
    console = Console(stderr=True)
    with show_bar(console) as progress:
        log = open_source(source, cache=cache or default_cache(), mirror=mirror, progress=progress)
    with show_distillation(console) as listener:
        report = distill_to_file(log, request, output, listener)
    if as_json:
        click.echo(json.dumps(report, allow_nan=False))
        return
    click.echo(
        f"{output}: {report['synthetic_users']} synthetic users, {report['non_zeros']:,} weights"
        + (", cut short" if report["interrupted"] else "")
    )


@click.command(name="sample")
@click.argument("source")
@click.option(
    "--sampler",
    type=click.Choice(tuple(SAMPLERS)),
    default="user-rns",
    show_default=True,
    help="Who is kept.",
)
@file_option("-o", "--output", text="The Parquet file to write.")
@click.option(
    "--users",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Users to keep at most.",
)
@seed_option
@reading_options
@json_option
@download_options
def sample_log(
    source: str,
    sampler: str,
    output: Path,
    users: int,
    seed: int,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **reading: Any,
) -> None:
    """Keep a few real users of a whole log: the baselines of `distill`.

    SOURCE is as for `replay`. The columns of the file are user_id and item_id.
    """
    from rich.console import Console

    from replay.console.screen import show_bar
    from replay.sampling import SampleRequest, sample_to_file

    with show_bar(Console(stderr=True)) as progress:
        log = open_source(source, cache=cache or default_cache(), mirror=mirror, progress=progress)
    found = sample_to_file(log, SampleRequest(sampler, users, seed, given(reading)), output)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
        return
    click.echo(
        f"{output}: {found['users']:,} of {found['users_given']:,} users, "
        f"{found['interactions']:,} of {found['interactions_given']:,} interactions"
    )
