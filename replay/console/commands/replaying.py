"""`replay`, and `report` of what it left."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from models.registry import DEFAULT_MODELS, MODELS
from replay.console.asked_log import open_asked_log
from replay.console.parameters import (
    download_options,
    folder_option,
    json_option,
    limit_options,
    log_options,
    reading_options,
    replay_options,
    store_option,
)
from replay.strategies.registry import DEFAULT_STRATEGIES, STRATEGIES

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
@log_options
@replay_options(MODELS, DEFAULT_MODELS, STRATEGIES, DEFAULT_STRATEGIES, "0")
@folder_option("--report", "report_folder", text="Write plots and an HTML page here.")
@json_option
@limit_options
@click.option("--fresh", is_flag=True, help="Make all figures again, those in the store too.")
@reading_options
@download_options
def replay(
    report_folder: Path | None,
    as_json: bool,
    fresh: bool,
    cache: Path | None,
    mirror: str | None,
    **asked: Any,
) -> None:
    """Cut a log into periods, refit on each, judge on the next.

    SOURCE is a file, a folder of period files, or the name of a data set (`perennial datasets
    list`). Without it the log in --store is replayed or, where there is none, an embedded
    synthetic stream. The same command again goes on where the last one stopped.
    """
    from rich.console import Console

    from replay.console.asked import asked_config
    from replay.console.replay_screen import watch_replay
    from replay.console.screen import print_summary
    from replay.loop import run_replay
    from replay.report.files import write_report
    from replay.summary import load_run, summarise

    config = asked_config(asked)
    with open_asked_log(asked, cache, mirror) as log:
        config = dataclasses.replace(config, source=log.source, cut=log.cut)
        with watch_replay(log.store, Console(stderr=True)) as listener:
            run_id = run_replay(log.store, config, fresh=fresh, listener=listener)
        data = load_run(log.store, run_id)
    summary = summarise(data)
    written = write_report(data, summary, report_folder) if report_folder else ()
    if as_json:
        click.echo(json.dumps(summary.to_json(), allow_nan=False))
        return
    print_summary(summary, Console())
    hint = f"perennial report --store {log.path} -o DIR"
    click.echo(f"\nreport: {written[0]}" if written else f"\nplots and a page: {hint}")


@click.command()
@store_option("The store that holds the run.")
@click.option("--run", "run_id", type=click.IntRange(min=1), help="Its number.  [default: newest]")
@folder_option("-o", "--output", text="Write plots (PNG, SVG) and a self-contained page here.")
@json_option
def report(store: Path, run_id: int | None, output: Path | None, as_json: bool) -> None:
    """Show the figures of a replay again, or write its pictures and page."""
    from rich.console import Console

    from replay.console.screen import print_summary
    from replay.opening import open_for_reading
    from replay.report.files import write_report
    from replay.summary import load_run, summarise

    with open_for_reading(store) as opened:
        data = load_run(opened, run_id)
    summary = summarise(data)
    written = write_report(data, summary, output) if output else ()
    if as_json:
        click.echo(json.dumps(summary.to_json(), allow_nan=False))
        return
    print_summary(summary, Console())
    for path in written:
        click.echo(path)
