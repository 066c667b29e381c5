"""`study table1` and the other studies on the paper's random split, made from their registry."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.registry import MODELS
from replay.console.asked_log import default_cache, given
from replay.console.parameters import (
    NOISE_KINDS,
    READING,
    download_options,
    engine_options,
    file_option,
    folder_option,
    json_option,
    memory_limit_option,
    names_option,
    parse_counts,
    parse_percents,
    parse_seeds,
    reading_options,
    settings_option,
)
from replay.study.paper.figures import PAPER
from replay.study.paper.registry import PAPER_STUDIES, ROW_MAKERS, Entry

if TYPE_CHECKING:
    from rich.console import Console

    from replay.study.paper.opening import OpenSplit

# What is heavy is imported by the command that needs it, so that `--help` is quick.


def make_command(name: str, entry: Entry) -> click.Command:
    """The command of a study."""

    def call(**options: Any) -> None:
        _study(name, options)

    call.__doc__ = entry.help
    command: Any = call
    for option in (
        download_options,
        reading_options,
        memory_limit_option,
        json_option,
        folder_option(
            "-o",
            "--output",
            text="Keep cells here, and write page, table and pictures.  [default: studies]",
        ),
        engine_options,
        settings_option,
        *_noise_options(entry),
        *_choices(entry),
        *((_PAPER_OPTION,) if entry.beside_paper else ()),
        *_LOG_OPTIONS,
        click.argument("source", required=False),
    ):
        command = option(command)
    return click.command(name=name)(command)


def _choices(entry: Entry) -> tuple[Callable[[Any], Any], ...]:
    """Which cells there are, in reversed order."""
    seeds, users = (",".join(map(str, numbers)) for numbers in (entry.seeds, entry.users))
    return (
        click.option(
            "--seed",
            "seeds",
            multiple=True,
            metavar="INTEGER",
            default=(seeds,),
            callback=parse_seeds,
            help=f"Seeds of all draws; repeatable or with commas.  [default: {seeds}]",
        ),
        click.option(
            "--users",
            multiple=True,
            metavar="INTEGER",
            default=(users,),
            callback=parse_counts,
            help=f"Users that are kept or made; repeatable or with commas.  [default: {users}]",
        ),
        names_option("--sampler", "samplers", ROW_MAKERS, entry.samplers or tuple(ROW_MAKERS)),
        names_option("--model", "models", MODELS, entry.default_models),
    )


def _noise_options(entry: Entry) -> tuple[Callable[[Any], Any], ...]:
    """How much noise, for the studies that have any."""
    if not entry.noises:
        return ()
    percents = ",".join(map(str, entry.noises))
    return (
        click.option(
            "--noise-kind",
            type=click.Choice(NOISE_KINDS),
            default=NOISE_KINDS[0],
            show_default=True,
            help="Swap a part of each user's items for others, or flip a part of all items.",
        ),
        click.option(
            "--noise",
            "noises",
            multiple=True,
            metavar="PERCENT",
            default=(percents,),
            callback=parse_percents,
            help=f"Per cent of noise; repeatable or with commas.  [default: {percents}]",
        ),
    )


_PAPER_OPTION = click.option(
    "--paper",
    type=click.Choice(tuple(PAPER)),
    help="Whose published figures stand beside ours.  [default: told by the source's name]",
)

_LOG_OPTIONS = (
    click.option(
        "--keep-repeats",
        is_flag=True,
        help="Count test items that stand in the context as misses, as the paper's authors do.",
    ),
    click.option(
        "--split-seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the split of a log that has none.",
    ),
    file_option(
        "--split",
        text="A Parquet file with the columns user_id, item_id and split, taken as it is.",
        required=False,
    ),
    click.option("--source", "named", metavar="SOURCE", help="SOURCE, given as an option."),
)


def _study(name: str, options: dict[str, Any]) -> None:
    """Bring the source here where it is not, and keep it while the study runs."""
    from rich.console import Console

    from replay.console.screen import show_bar
    from stream.sources.remote import source_at_hand

    if options["named"] is not None and options["source"] is not None:
        raise click.UsageError("the source is given twice; leave one out")
    source = options["named"] or options["source"]
    output = options["output"] or Path("studies")
    with ExitStack() as stack:
        if source is not None:
            with show_bar(Console(stderr=True)) as progress:
                source = stack.enter_context(source_at_hand(source, output, progress))
        _run(name, source, output, options)


def _run(name: str, source: str | None, output: Path, options: dict[str, Any]) -> None:
    """Open the split, make the cells, report."""
    from rich.console import Console

    from replay.console.asked_engine import asked_engine
    from replay.console.crew import watch_crew
    from replay.console.paper_study import asked_study, print_paper_study
    from replay.report.paper import write_paper_study
    from replay.study.paper.cell import Ground
    from replay.study.paper.found import Found, describe_study
    from replay.study.paper.registry import find_study
    from replay.study.paper.running import count_tasks, run_cells

    study = find_study(name)
    errors = Console(stderr=True)
    with asked_engine(options) as engine:
        split = _open(source, options, output, errors)
        asked = asked_study(options, split.num_users, lambda text: click.echo(text, err=True))
        cells = study.cells(asked)
        ground = Ground(
            str(split.path), split.content, str(output), options["keep_repeats"], engine.versions
        )
        with watch_crew(errors, count_tasks(ground, cells)) as watch:
            records = run_cells(
                ground, cells, engine.num_beside, watch, options["memory_limit"], engine
            )
    found = Found.of(name, study, split, describe_study(split, asked, ground), records)
    written = write_paper_study(found, output)
    if options["as_json"]:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
        return
    print_paper_study(found, Console())
    for path in written:
        click.echo(path)


def _open(
    source: str | None, options: dict[str, Any], output: Path, console: "Console"
) -> "OpenSplit":
    """The split that is asked for."""
    from replay.console.screen import show_bar
    from replay.study.paper.opening import SplitRequest, open_split

    request = SplitRequest(
        source=source,
        split=options["split"],
        paper=options.get("paper"),
        seed=options["split_seed"],
        reading=given({field: options[field] for field in READING}),
    )
    cache = options["cache"] or default_cache()
    with show_bar(console) as progress:
        return open_split(request, output, cache=cache, mirror=options["mirror"], progress=progress)


COMMANDS = tuple(make_command(name, entry) for name, entry in PAPER_STUDIES.items())
"""The studies' commands, for the group that lists them."""
