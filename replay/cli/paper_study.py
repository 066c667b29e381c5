"""`study table1` and the other studies on the paper's random split, made from their registry."""

import dataclasses
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from perennial.models.registry import MODELS
from perennial.replay.cli.errors import echo
from perennial.replay.cli.log_options import DownloadOptions, ReadingOptions, ReadingPrinter
from perennial.replay.cli.options import WorkerOptions, field, numbers_option, option, options
from perennial.replay.cli.parameters import (
    NATURAL,
    NOISE_KINDS,
    Setting,
    choose_source,
    file_option,
    folder_option,
    given,
    json_option,
    memory_limit_option,
    named_source_option,
    names_option,
    parse_counts,
    parse_percents,
    parse_seeds,
    settings_option,
    source_argument,
)
from perennial.replay.study.paper.paper_figures import PAPER
from perennial.replay.study.paper.registry import PAPER_STUDIES, ROW_MAKERS, StudyEntry

if TYPE_CHECKING:
    from perennial.replay.study.paper.base import StudyOptions
    from perennial.replay.study.paper.report import StudyResults
    from perennial.replay.study.paper.split import OpenSplit
    from perennial.replay.study.workers.base import Executor

# Heavy imports are in the functions that need them, so that `--help` is fast.


@dataclass(frozen=True)
class SplitOptions:
    """The log, and how it is split."""

    source: str | None = field(source_argument())
    named: str | None = field(named_source_option)
    split: Path | None = field(  # noqa: RUF009
        file_option(
            "--split",
            text="A Parquet file with the columns user_id, item_id and split, taken as it is.",
            required=False,
        )
    )
    split_seed: int | None = option(
        "--split-seed", type=NATURAL, help="Seed of the split of a log that has none.  [default: 0]"
    )
    keep_repeats: bool = option(
        "--keep-repeats",
        is_flag=True,
        help="Count test items that stand in the context as misses, as the paper's authors do.",
    )


@dataclass(frozen=True)
class PaperCellOptions:
    """The cells of a study; `cell_options` makes the fields options, with the study's defaults."""

    paper: str | None = None
    models: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    noises: tuple[float, ...] = ()
    noise_kind: Literal["swap", "flip"] = "swap"
    settings: tuple[Setting, ...] = ()

    def to_study(self, num_users: int, report: Callable[[str], None]) -> "StudyOptions":
        """Return the options for a split; samplers take at most all of its users.

        `report` is called with a line about what is done differently from what was requested.
        """
        from perennial.replay.config import choose_models
        from perennial.replay.study.paper.base import StudyOptions
        from perennial.replay.study.paper.cells import DISTILL
        from perennial.stream.noise import Noise

        of_models = [one for one in self.settings if one[0] != DISTILL]
        distillation = {name: value for which, name, value in self.settings if which == DISTILL}
        if distillation:
            from perennial.memory.distill.settings import DistillSettings
            from perennial.storage.base import build

            build("sampler", DISTILL, DistillSettings, distillation)
        over = [count for count in self.users if count > num_users]
        if over:
            counts = ", ".join(f"{count:,}" for count in over)
            report(
                f"--users {counts}: the split has {num_users:,} users, so that many are taken "
                "instead"
            )
        return StudyOptions(
            models=choose_models(self.models, of_models),
            samplers=self.samplers,
            users=tuple(sorted({min(count, num_users) for count in self.users})),
            seeds=tuple(dict.fromkeys(self.seeds)),
            distillation=distillation,
            noises=tuple(
                Noise(percent, self.noise_kind) for percent in sorted({*self.noises, 0.0})
            ),
        )


def cell_options(entry: StudyEntry) -> type[PaperCellOptions]:
    """Return the group with the options and defaults of a study."""
    samplers = entry.samplers or tuple(ROW_MAKERS)
    declared: dict[str, Any] = {
        "models": field(names_option("--model", "models", MODELS, entry.default_models)),
        "samplers": field(names_option("--sampler", "samplers", ROW_MAKERS, samplers)),
        "users": numbers_option(
            "--users", "users", entry.users, "Users that are kept or made", parse=parse_counts
        ),
        "seeds": numbers_option(
            "--seed", "seeds", entry.seeds, "Seeds of all draws", parse=parse_seeds
        ),
        "settings": field(settings_option),
    }
    if entry.has_paper_table:
        declared["paper"] = option(
            "--paper",
            type=click.Choice(tuple(PAPER)),
            help="Data set of the paper whose figures are shown.  [default: by the source's name]",
        )
    if entry.noises:
        declared["noises"] = numbers_option(
            "--noise",
            "noises",
            entry.noises,
            "Per cent of noise",
            parse=parse_percents,
            metavar="PERCENT",
        )
        declared["noise_kind"] = option(
            "--noise-kind",
            type=click.Choice(NOISE_KINDS),
            default=NOISE_KINDS[0],
            help="Swap a part of each user's items for others, or flip a part of all items.",
        )
    types = {one.name: one.type for one in dataclasses.fields(PaperCellOptions)}
    return dataclasses.make_dataclass(
        PaperCellOptions.__name__,
        [(name, types[name], value) for name, value in declared.items()],
        bases=(PaperCellOptions,),
        frozen=True,
        kw_only=True,
    )


def make_command(name: str, entry: StudyEntry) -> click.Command:
    """Make the command of a study."""

    @click.command(name=name, help=entry.help)
    @options(split=SplitOptions, cells=cell_options(entry), workers=WorkerOptions)
    @folder_option(
        "-o",
        "--output",
        text="Keep cells here, and write page, table and pictures.  [default: studies]",
    )
    @json_option
    @memory_limit_option
    @options(reading=ReadingOptions, download=DownloadOptions)
    def command(
        split: SplitOptions,
        cells: PaperCellOptions,
        workers: WorkerOptions,
        output: Path | None,
        as_json: bool,
        memory_limit: int,
        reading: ReadingOptions,
        download: DownloadOptions,
    ) -> None:
        source = choose_source(split.source, split.named)
        _refuse_ignored(entry, cells)

        from perennial.replay.cli.progress import show_bar
        from perennial.replay.study.paper.split import SplitRequest, open_split
        from perennial.stream.sources.object_storage import local_source

        folder = output or Path("studies")
        with ExitStack() as stack:
            if source is not None:
                with show_bar() as progress:
                    source = stack.enter_context(local_source(source, folder, progress))
            executor = stack.enter_context(workers.open())
            printer = ReadingPrinter()
            request = SplitRequest(
                download.folder,
                download.mirror,
                source=source,
                split=split.split,
                paper=cells.paper,
                seed=split.split_seed,
                reading=reading.changes,
            )
            with show_bar() as progress:
                opened = open_split(request, folder, progress, printer)
            study_options = cells.to_study(opened.num_users, lambda line: echo(line, err=True))
            results = _run(
                name, opened, study_options, folder, split.keep_repeats, executor, memory_limit
            )
        _print(results, folder, as_json, printer)

    return command


def _refuse_ignored(entry: StudyEntry, cells: PaperCellOptions) -> None:
    """Raise a `click.UsageError` for options that the cells of the study would not use."""
    if entry.has_paper_table and given("samplers", "users") and "infinite-ae" not in cells.models:
        raise click.UsageError(
            "--sampler and --users are for the rows that infinite-ae is fitted on; name it with "
            "--model, or leave them out"
        )
    if "distill-cf" not in cells.samplers and any(one[0] == "distill-cf" for one in cells.settings):
        raise click.UsageError(
            "settings of distill-cf are given, and it is not among the samplers; name it with "
            "--sampler, or leave them out"
        )
    if given("noise_kind") and not any(cells.noises):
        raise click.UsageError("--noise-kind is given and no --noise above 0; leave one out")


def _run(
    name: str,
    split: "OpenSplit",
    study_options: "StudyOptions",
    folder: Path,
    keep_repeats: bool,
    executor: "Executor",
    memory_limit: int,
) -> "StudyResults":
    from perennial.replay.cli.progress import watch_tasks
    from perennial.replay.study.paper.cells import StudyContext
    from perennial.replay.study.paper.registry import find_study
    from perennial.replay.study.paper.report import StudyResults, describe_study
    from perennial.replay.study.paper.runner import plan_tasks, run_cells

    study = find_study(name)
    cells = study.cells(study_options)
    context = StudyContext(
        str(split.path), split.content, str(folder), keep_repeats, executor.versions
    )
    num_tasks = sum(map(len, plan_tasks(context, cells)))
    with watch_tasks(num_tasks=num_tasks) as watch:
        records = run_cells(
            context, cells, executor.workers_per_machine, watch, memory_limit, executor
        )
    return StudyResults(name, study, split, describe_study(split, study_options, context), records)


def _print(results: "StudyResults", folder: Path, as_json: bool, printer: ReadingPrinter) -> None:
    from perennial.replay.cli.tables import print_paper_study
    from perennial.replay.report.drawing import TerminalConsole
    from perennial.replay.report.paper import write_paper_study

    written = write_paper_study(results, folder)
    if as_json:
        click.echo(json.dumps({**results.to_json(), **printer.to_json()}, allow_nan=False))
        return
    print_paper_study(results, TerminalConsole())
    for path in written:
        echo(path)


COMMANDS = tuple(make_command(name, entry) for name, entry in PAPER_STUDIES.items())
"""Commands of the studies, for the group that lists them."""
