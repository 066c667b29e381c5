"""`study`: many fits at once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from perennial.models.registry import DEFAULT_MODELS, MODELS
from perennial.replay.cli.options import (
    download_options,
    engine_options,
    folder_option,
    json_option,
    limit_options,
    log_options,
    named_source_option,
    reading_options,
    replay_options,
    until_option,
)
from perennial.replay.cli.paper_study import COMMANDS
from perennial.replay.cli.requests import open_asked_log
from perennial.replay.strategies.registry import STRATEGIES, STUDY_STRATEGIES

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.group()
def study() -> None:
    """Many fits at once, in parallel, and one report of them."""


for _command in COMMANDS:
    study.add_command(_command)


@study.command(name="continual")
@log_options
@named_source_option
@replay_options(MODELS, DEFAULT_MODELS, STRATEGIES, STUDY_STRATEGIES, "0,1,2")
@engine_options
@click.option(
    "--transfer/--no-transfer",
    default=True,
    show_default=True,
    help="Also fit without a tenth of the users, and ask these fits about them in every period.",
)
@click.option(
    "--confirm-from",
    type=click.IntRange(min=2),
    help="Report the evaluated periods from here on apart: those nothing was chosen on.",
)
@until_option
@folder_option("-o", "--output", text="Write the pictures and the page here.")
@json_option
@limit_options
@reading_options
@download_options
def study_continual(
    named: str | None,
    transfer: bool,
    confirm_from: int | None,
    until: int | None,
    output: Path | None,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **asked: Any,
) -> None:
    """Compare what strategies make of a log over its periods (Figure 5 of the paper).

    SOURCE is as for `replay`. Every strategy is followed with every model and seed. The same
    command again goes on where the last one stopped, and takes cells of a replay as they are.
    """
    from rich.console import Console

    from perennial.replay.cli.progress import watch_crew
    from perennial.replay.cli.requests import asked_config, asked_engine
    from perennial.replay.cli.tables import print_study
    from perennial.replay.report.study import write_study
    from perennial.replay.study.continual import ContinualStudy, run_continual
    from perennial.replay.study.continual_report import check_periods, load_study

    if named is not None and asked["source"] is not None:
        raise click.UsageError("the source is given twice; leave one out")
    asked["source"] = named or asked["source"]
    config = asked_config(asked)
    with asked_engine(asked) as engine:
        with open_asked_log(asked, cache, mirror) as log:
            check_periods(log.store, confirm_from, until)
        config = dataclasses.replace(config, source=log.source, cut=log.cut)
        plan = ContinualStudy.of(config, transfer=transfer, num_workers=engine.workers_per_machine)
        with watch_crew(Console(stderr=True)) as watch:
            runs = run_continual(log.path, plan, on_event=watch, executor=engine)
    found = load_study(log.path, runs, plan.transfer, confirm_from, until)
    written = write_study(found, output) if output else ()
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
        return
    print_study(found, Console())
    for path in written:
        click.echo(path)
