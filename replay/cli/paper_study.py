"""`study table1` and the other studies on the paper's random split, made from their registry."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.models.registry import MODELS
from perennial.replay.cli.options import (
    NOISE_KINDS,
    READING,
    download_options,
    engine_options,
    file_option,
    folder_option,
    json_option,
    memory_limit_option,
    named_source_option,
    names_option,
    parse_counts,
    parse_percents,
    parse_seeds,
    reading_options,
    settings_option,
    source_argument,
)
from perennial.replay.cli.requests import default_cache, given
from perennial.replay.study.paper.published import PAPER
from perennial.replay.study.paper.registry import PAPER_STUDIES, ROW_MAKERS, StudyEntry

if TYPE_CHECKING:
    from rich.console import Console

    from perennial.replay.study.paper.base import StudyOptions
    from perennial.replay.study.paper.split import OpenSplit


def asked_study(
    options: Mapping[str, Any], num_users: int, say: Callable[[str], None]
) -> "StudyOptions":
    """The cells that the options ask for.

    Args:
        options: of the command.
        num_users: that the split has; nobody can sample more.
        say: told of what is done otherwise than asked.

    Raises:
        UserError: settings that make no model or no summary.
    """
    from perennial.replay.config import choose_models
    from perennial.replay.study.paper.base import StudyOptions
    from perennial.replay.study.paper.cells import DISTILL
    from perennial.stream.noise import Noise

    of_models = [one for one in options["settings"] if one[0] != DISTILL]
    distillation = {name: value for which, name, value in options["settings"] if which == DISTILL}
    if distillation:
        from perennial.memory.distill.settings import DistillSettings
        from perennial.storage.registry import build

        build("sampler", DISTILL, DistillSettings, distillation)
    users = tuple(sorted({min(count, num_users) for count in options["users"]}))
    over = [count for count in options["users"] if count > num_users]
    if over:
        asked = ", ".join(f"{count:,}" for count in over)
        say(f"--users {asked}: the split has {num_users:,} users, so that many are taken instead")
    return StudyOptions(
        models=choose_models(options["models"], of_models),
        samplers=options["samplers"],
        users=users,
        seeds=tuple(dict.fromkeys(options["seeds"])),
        distillation=distillation,
        noises=tuple(
            Noise(percent, options.get("noise_kind", "swap"))
            for percent in sorted({*options.get("noises", ()), 0.0})
        ),
    )


# What is heavy is imported by the command that needs it, so that `--help` is quick.


def make_command(name: str, entry: StudyEntry) -> click.Command:
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
        *((_PAPER_OPTION,) if entry.has_paper_table else ()),
        *_LOG_OPTIONS,
        source_argument(),
    ):
        command = option(command)
    return click.command(name=name)(command)


def _choices(entry: StudyEntry) -> tuple[Callable[[Any], Any], ...]:
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


def _noise_options(entry: StudyEntry) -> tuple[Callable[[Any], Any], ...]:
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
    named_source_option,
)


def _study(name: str, options: dict[str, Any]) -> None:
    """Bring the source here where it is not, and keep it while the study runs."""
    from rich.console import Console

    from perennial.replay.cli.progress import show_bar
    from perennial.stream.sources.object_storage import local_source

    if options["named"] is not None and options["source"] is not None:
        raise click.UsageError("the source is given twice; leave one out")
    source = options["named"] or options["source"]
    output = options["output"] or Path("studies")
    with ExitStack() as stack:
        if source is not None:
            with show_bar(Console(stderr=True)) as progress:
                source = stack.enter_context(local_source(source, output, progress))
        _run(name, source, output, options)


def _run(name: str, source: str | None, output: Path, options: dict[str, Any]) -> None:
    """Open the split, make the cells, report."""
    from rich.console import Console

    from perennial.replay.cli.progress import watch_crew
    from perennial.replay.cli.requests import asked_engine
    from perennial.replay.cli.tables import print_paper_study
    from perennial.replay.report.paper import write_paper_study
    from perennial.replay.study.paper.cells import StudyContext
    from perennial.replay.study.paper.registry import find_study
    from perennial.replay.study.paper.report import StudyResults, describe_study
    from perennial.replay.study.paper.runner import count_tasks, run_cells

    study = find_study(name)
    errors = Console(stderr=True)
    with asked_engine(options) as engine:
        split = _open(source, options, output, errors)
        asked = asked_study(options, split.num_users, lambda text: click.echo(text, err=True))
        cells = study.cells(asked)
        ground = StudyContext(
            str(split.path), split.content, str(output), options["keep_repeats"], engine.versions
        )
        with watch_crew(errors, count_tasks(ground, cells)) as watch:
            records = run_cells(
                ground, cells, engine.workers_per_machine, watch, options["memory_limit"], engine
            )
    found = StudyResults.of(name, study, split, describe_study(split, asked, ground), records)
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
    from perennial.replay.cli.progress import show_bar
    from perennial.replay.study.paper.split import SplitRequest, open_split

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
