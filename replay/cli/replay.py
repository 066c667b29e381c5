"""`replay`, and `report` of what it left."""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

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
    ChainOptions,
    LimitOptions,
    ProtocolOptions,
    SettingOptions,
    WorkerOptions,
    make_config,
    options,
)
from perennial.replay.cli.parameters import (
    POSITIVE,
    choose_source,
    folder_option,
    json_option,
    store_option,
    until_option,
)
from perennial.storage.opening import open_for_reading

if TYPE_CHECKING:
    from perennial.replay.analysis.run import RunData
    from perennial.replay.config import ReplayConfig
    from perennial.replay.study.workers.base import Executor

# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.command()
@options(
    stored=StoredLogOptions,
    cut=CutOptions,
    chains=ChainOptions,
    settings=SettingOptions,
    protocol=ProtocolOptions,
)
@folder_option("--report", "report_folder", text="Write plots and an HTML page here.")
@json_option
@options(workers=WorkerOptions, limits=LimitOptions)
@click.option("--fresh", is_flag=True, help="Make all figures again, those in the store too.")
@options(reading=ReadingOptions, download=DownloadOptions)
def replay(
    stored: StoredLogOptions,
    cut: CutOptions,
    chains: ChainOptions,
    settings: SettingOptions,
    protocol: ProtocolOptions,
    report_folder: Path | None,
    as_json: bool,
    workers: WorkerOptions,
    limits: LimitOptions,
    fresh: bool,
    reading: ReadingOptions,
    download: DownloadOptions,
) -> None:
    """Cut a log into periods, refit on each, evaluate on the next.

    SOURCE is a file, a folder of period files, or the name of a data set (`perennial datasets
    list`). Without it the log in --store is replayed or, where there is none, an embedded
    synthetic stream. The same command again resumes where the last one stopped. With --workers
    or --engine ray its strategies and seeds are made at the same time, elsewhere.
    """
    choose_source(cut.source)

    from perennial.replay.analysis.run import load_run
    from perennial.replay.analysis.summary import summarise
    from perennial.replay.cli.progress import watch_replay
    from perennial.replay.cli.tables import print_summary
    from perennial.replay.live.steps import readings_to_json
    from perennial.replay.loop import run_replay
    from perennial.replay.report.drawing import TerminalConsole
    from perennial.replay.report.run import write_report

    if fresh and workers.given:
        raise click.UsageError("--fresh is for this process alone; leave out --engine, --workers")
    config = make_config(chains, settings, protocol, limits)
    with workers.open() if workers.given else nullcontext() as executor:
        with open_requested_log(stored, cut, reading, download) as log:
            config = dataclasses.replace(config, source=log.source, cut=log.cut)
            if executor is None:
                with watch_replay(log.store) as listener:
                    run_id = run_replay(log.store, config, fresh=fresh, listener=listener)
                data = load_run(log.store, run_id)
        if executor is not None:
            data = _replay_with(executor, log.path, config)
    summary = summarise(data)
    written = write_report(data, summary, report_folder) if report_folder else ()
    if as_json:
        reading_of = readings_to_json(log.reports)
        click.echo(json.dumps({**summary.to_json(), **reading_of}, allow_nan=False))
        return
    print_summary(summary, TerminalConsole())
    hint = f"perennial report --store {log.path} -o DIR"
    echo()
    echo(f"report: {written[0]}" if written else f"plots and a page: {hint}")


def _replay_with(executor: "Executor", path: Path, config: "ReplayConfig") -> "RunData":
    from perennial.replay.analysis.run import load_run
    from perennial.replay.cli.progress import watch_tasks
    from perennial.replay.study.continual import ContinualStudy, run_continual

    plan = ContinualStudy.of(config, transfer=False, num_workers=executor.workers_per_machine)
    with watch_tasks() as watch:
        runs = run_continual(path, plan, on_event=watch, executor=executor)
    with open_for_reading(path) as store:
        return load_run(store, runs.main)


@click.command()
@store_option("The store that holds the run.")
@click.option("--run", "run_id", type=POSITIVE, help="Its number.  [default: newest]")
@click.option(
    "--against",
    type=POSITIVE,
    metavar="RUN",
    help="Also show the difference from this run: the same users, periods and strategies.",
)
@until_option
@folder_option("-o", "--output", text="Write plots (PNG, SVG) and a self-contained page here.")
@json_option
def report(
    store: Path,
    run_id: int | None,
    against: int | None,
    until: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show the figures of a replay again, or write its pictures and page."""
    from perennial.replay.analysis.run import load_run
    from perennial.replay.analysis.run_comparison import compare_runs
    from perennial.replay.analysis.summary import summarise
    from perennial.replay.cli.tables import print_against, print_summary
    from perennial.replay.report.drawing import TerminalConsole
    from perennial.replay.report.run import report_json, write_report

    with open_for_reading(store) as opened:
        data = load_run(opened, run_id, until=until)
        other = None if against is None else load_run(opened, against, until=until)
    compared = None if other is None else compare_runs(data, other)
    summary = summarise(data)
    written = write_report(data, summary, output, compared) if output else ()
    if as_json:
        click.echo(json.dumps(report_json(summary, compared), allow_nan=False))
        return
    console = TerminalConsole()
    print_summary(summary, console)
    if compared is not None:
        print_against(compared, summary, console)
    for path in written:
        echo(path)
