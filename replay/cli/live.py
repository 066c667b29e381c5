"""`init`, `ingest`, `update`, `watch` and `forget`: a model that is kept current."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from perennial.models.registry import MODELS
from perennial.replay.cli.options import (
    PlaceType,
    check_files,
    json_lines_option,
    json_option,
    limit_options,
    memory_options,
    protocol_options,
    reading_options,
    seed_option,
    settings_option,
    store_option,
    wait_option,
    warm_start_option,
)
from perennial.replay.cli.requests import given
from perennial.replay.strategies.registry import STRATEGIES
from perennial.storage.errors import StorageUnavailable, UserError

if TYPE_CHECKING:
    from perennial.replay.live.ingest import LiveRequest
    from perennial.replay.live.steps import Step
    from perennial.storage.log.rewrite import ErasedUser
    from perennial.storage.objects.bucket import Place

# What is heavy is imported by the command that needs it, so that `--help` is quick.


def _forget_log_option(command: Any) -> Any:
    return click.option(
        "--forget-log-after",
        type=click.IntRange(min=1),
        metavar="K",
        help="Keep the interactions of the newest K periods only; the memory remembers the rest.",
    )(command)


def _late_option(command: Any) -> Any:
    return click.option(
        "--late",
        type=click.Choice(("refuse", "merge")),
        default="refuse",
        show_default=True,
        help="What to do with a file that is older than the newest period, or overlaps it.",
    )(command)


@click.command()
@store_option("Made where absent.", must_exist=False)
@click.option(
    "--model",
    type=click.Choice(tuple(MODELS)),
    default="infinite-ae",
    show_default=True,
    help="Which model answers.",
)
@click.option(
    "--strategy",
    type=click.Choice(tuple(STRATEGIES)),
    default="distill-cf",
    show_default=True,
    help="What it is refitted on.",
)
@seed_option
@settings_option
@memory_options
@warm_start_option
@protocol_options
@limit_options
@click.option("--replace", is_flag=True, help="Begin anew where something else is fixed.")
@wait_option
def init(
    store: Path, model: str, strategy: str, seed: int, replace: bool, wait: float, **asked: Any
) -> None:
    """Fix which model is kept current in a store, and how.

    From then on `perennial ingest` judges the published model on each new period, refits it beside
    the memory, and publishes it. The same command again changes nothing.
    """
    from perennial.replay.cli.requests import asked_config
    from perennial.replay.live.setup import configure_live, describe
    from perennial.storage.log.periods import list_periods
    from perennial.storage.opening import open_for_writing

    config = asked_config(
        {**asked, "models": (model,), "strategies": (strategy,), "seeds": (seed,)}
    )
    with open_for_writing(store, wait) as opened:
        record = configure_live(opened, config, replace=replace)
        held = len(list_periods(opened))
    click.echo(f"{store}: live with {describe(record)}")
    what = "perennial update" if held else "perennial ingest FILE..."
    click.echo(f"next: {what} --store {store}")


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=PlaceType(),
    callback=lambda _context, _parameter, files: check_files(files),
)
@store_option("Made where absent.", must_exist=False)
@click.option("--no-train", is_flag=True, help="Only take the files; `update` catches up.")
@_late_option
@_forget_log_option
@reading_options
@wait_option
@json_option
def ingest(
    files: tuple["Place", ...],
    store: Path,
    no_train: bool,
    late: Literal["refuse", "merge"],
    forget_log_after: int | None,
    wait: float,
    as_json: bool,
    **reading: Any,
) -> None:
    """Make each FILE the next period of the log in --store, in the order of their times.

    Reads Parquet, CSV, TSV (gzip too), MovieLens .dat, RecBole .inter and ADER's period_N.txt,
    here or at an address such as s3://BUCKET/KEY. A file goes in whole or not at all; one that is
    there already changes nothing. Where `perennial init` fixed a live model it is judged on each
    new period, refitted and published.
    """
    request = _request(given(reading), late, not no_train, forget_log_after)
    _take(store, files, request, wait, as_json)


@click.command()
@store_option("The store to bring up to date.")
@_forget_log_option
@wait_option
@json_option
def update(store: Path, forget_log_after: int | None, wait: float, as_json: bool) -> None:
    """Judge, refit and publish for the periods that have come since the last publication.

    After `perennial ingest --no-train`, or where something was interrupted.
    """
    from rich.console import Console

    from perennial.replay.cli.progress import show_stages
    from perennial.replay.live.ingest import LiveRequest, bring_up_to_date, check_forgetting
    from perennial.replay.live.setup import require_live
    from perennial.storage.opening import open_to_serve_readers

    with open_to_serve_readers(store, wait) as opened:
        require_live(opened)
        check_forgetting(opened, LiveRequest(forget_log_after=forget_log_after))
        with show_stages(Console(stderr=True)) as listener:
            count = _tell(bring_up_to_date(opened, forget_log_after, listener), as_json)
    if not count and not as_json:
        click.echo("up to date")


@click.command()
@click.argument("folder", type=PlaceType(file_okay=False))
@store_option("Made where absent.", must_exist=False)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Seconds that a file must have stayed as it is.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.05),
    default=2.0,
    show_default=True,
    help="Seconds between two looks into the folder.",
)
@click.option("--once", is_flag=True, help="Take what is there, then end.")
@_late_option
@_forget_log_option
@reading_options
@json_lines_option
def watch(
    folder: "Place",
    store: Path,
    settle: float,
    every: float,
    once: bool,
    late: Literal["refuse", "merge"],
    forget_log_after: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Do as `ingest` for each file that appears in FOLDER, until interrupted.

    FOLDER is here, or an address such as s3://BUCKET/FOLDER.

    A file that is refused is told of and left alone until it changes; where it is the store that
    takes nothing, its disk being full for instance, it is tried again. Names that begin with a
    dot, or end as unfinished files do, are not looked at; write elsewhere and rename.
    """
    import time

    from perennial.replay.live.watch import WatchedFolder

    if isinstance(folder, Path) and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; create it first")
    request = _request(given(reading), late, True, forget_log_after)
    looked = WatchedFolder(folder, 0.0 if once else settle)
    failed, fault = False, ""
    while True:
        whole: tuple[Place, ...] = ()
        taken = 0
        try:
            whole = looked.poll()
            for path in whole:
                try:
                    _take(store, (path,), request, float("inf"), as_json)
                    fault = ""
                except StorageUnavailable:
                    raise
                except UserError as error:
                    failed = True
                    click.echo(f"error: {error}", err=True)
                taken += 1
        except StorageUnavailable as error:
            failed = True
            # The files are well: they are taken once the store is, still in their order.
            looked.forget(whole[taken:])
            if str(error) != fault:
                fault = str(error)
                click.echo(f"error: {fault}", err=True)
        if once:
            break
        time.sleep(every)
    if failed:
        raise UserError("some files were not taken; the reasons are above")


@click.command()
@store_option("The store to forget in.")
@click.option("--user", "users", metavar="ID", multiple=True, required=True, help="Repeatable.")
@wait_option
@json_option
def forget(store: Path, users: tuple[str, ...], wait: float, as_json: bool) -> None:
    """Take a user out of the store, and out of all that was made of them.

    Their interactions go, summaries that stand for them are distilled anew, the live model is
    refitted, figures about them leave the runs, and the file is written anew so that no byte of
    them is left in it. A summary whose log is gone already cannot be made again: it is deleted,
    and that is told. An interrupted call is finished by `update`, or by the same again where
    nothing had changed yet.
    """
    from rich.console import Console

    from perennial.replay.cli.progress import show_stages
    from perennial.replay.live.ingest import forget_users
    from perennial.storage.opening import open_to_serve_readers

    with (
        open_to_serve_readers(store, wait) as opened,
        show_stages(Console(stderr=True)) as listener,
    ):
        _tell(forget_users(opened, users, listener), as_json)


def _request(
    reading: dict[str, Any],
    late: Literal["refuse", "merge"],
    train: bool,
    forget_log_after: int | None,
) -> "LiveRequest":
    from perennial.replay.live.ingest import LiveRequest
    from perennial.storage.log.ingest import IngestSettings

    return LiveRequest(IngestSettings(**reading), late, train, forget_log_after)


def _take(
    store: Path, files: tuple["Place", ...], request: "LiveRequest", wait: float, as_json: bool
) -> None:
    from rich.console import Console

    from perennial.replay.cli.progress import show_files
    from perennial.replay.live.ingest import take_files
    from perennial.storage.objects.copies import local_copies
    from perennial.storage.opening import open_for_writing

    with (
        open_for_writing(store, wait) as opened,
        show_files(Console(stderr=True)) as (progress, listener),
        local_copies(files, store.parent, progress) as paths,
    ):
        _tell(take_files(opened, paths, request, progress=progress, listener=listener), as_json)


def _tell(steps: "Iterable[Step | ErasedUser]", as_json: bool) -> int:
    """Print each step as it is done, or all as one JSON object; how many there were."""
    from perennial.replay.live.steps import describe_step, step_to_json

    told: list[dict[str, Any]] = []
    try:
        for step in steps:
            told.append(step_to_json(step))
            if not as_json:
                click.echo(describe_step(step))
    finally:
        # What was done before a mistake was met is done.
        if as_json:
            click.echo(json.dumps({"steps": told}, allow_nan=False))
    return len(told)
