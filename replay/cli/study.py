"""`study`: many fits at once."""

import dataclasses
import json
from pathlib import Path

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.log_options import (
    CutOptions,
    DownloadOptions,
    ReadingOptions,
    StoredLogOptions,
    open_requested_log,
)
from perennial.replay.cli.options import (
    LimitOptions,
    ProtocolOptions,
    SettingOptions,
    StudyChainOptions,
    WorkerOptions,
    make_config,
    options,
)
from perennial.replay.cli.paper_study import COMMANDS
from perennial.replay.cli.parameters import (
    choose_source,
    folder_option,
    json_option,
    named_source_option,
    until_option,
)

# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.group()
def study() -> None:
    """Many fits at once, in parallel, and one report of them."""


for _command in COMMANDS:
    study.add_command(_command)


@study.command(name="continual")
@options(stored=StoredLogOptions, cut=CutOptions)
@named_source_option
@options(
    chains=StudyChainOptions,
    settings=SettingOptions,
    protocol=ProtocolOptions,
    workers=WorkerOptions,
)
@click.option(
    "--transfer/--no-transfer",
    default=True,
    help="Also fit without a tenth of the users, and evaluate these fits on them in every period.",
)
@click.option(
    "--confirm-from",
    type=click.IntRange(min=2),
    help="Report the evaluated periods from here on apart: those nothing was chosen on.",
)
@until_option
@folder_option("-o", "--output", text="Write the pictures and the page here.")
@json_option
@options(limits=LimitOptions, reading=ReadingOptions, download=DownloadOptions)
def study_continual(
    stored: StoredLogOptions,
    cut: CutOptions,
    named: str | None,
    chains: StudyChainOptions,
    settings: SettingOptions,
    protocol: ProtocolOptions,
    workers: WorkerOptions,
    transfer: bool,
    confirm_from: int | None,
    until: int | None,
    output: Path | None,
    as_json: bool,
    limits: LimitOptions,
    reading: ReadingOptions,
    download: DownloadOptions,
) -> None:
    """Compare what strategies make of a log over its periods (Figure 5 of the paper).

    SOURCE is as for `replay`. Every strategy is followed with every model and seed. The same
    command again resumes where the last one stopped, and takes cells of a replay as they are.
    """
    cut = dataclasses.replace(cut, source=choose_source(cut.source, named))

    from perennial.replay.cli.progress import watch_tasks
    from perennial.replay.cli.tables import print_study
    from perennial.replay.live.steps import readings_to_json
    from perennial.replay.report.drawing import TerminalConsole
    from perennial.replay.report.study import write_study
    from perennial.replay.study.continual import ContinualStudy, run_continual
    from perennial.replay.study.continual_report import check_periods, load_study

    config = make_config(chains, settings, protocol, limits)
    with workers.open() as executor:
        with open_requested_log(stored, cut, reading, download) as log:
            check_periods(log.store, confirm_from, until)
        config = dataclasses.replace(config, source=log.source, cut=log.cut)
        plan = ContinualStudy.of(
            config, transfer=transfer, num_workers=executor.workers_per_machine
        )
        with watch_tasks() as watch:
            runs = run_continual(log.path, plan, on_event=watch, executor=executor)
    report = load_study(log.path, runs, plan.transfer, confirm_from, until)
    written = write_study(report, output) if output else ()
    if as_json:
        reading_of = readings_to_json(log.reports)
        click.echo(json.dumps({**report.to_json(), **reading_of}, allow_nan=False))
        return
    print_study(report, TerminalConsole())
    for path in written:
        echo(path)
