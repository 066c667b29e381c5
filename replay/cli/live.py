"""`init`, `ingest`, `update`, `watch` and `forget`: a model that is kept current."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.models.registry import MODELS
from perennial.replay.cli.errors import echo, echo_as_is
from perennial.replay.cli.log_options import (
    ConditionOptions,
    ForgetOptions,
    LateOptions,
    ReadingOptions,
)
from perennial.replay.cli.options import (
    ChainOptions,
    LimitOptions,
    ProtocolOptions,
    SettingOptions,
    make_config,
    options,
)
from perennial.replay.cli.parameters import (
    NATURAL,
    NameChoice,
    PlaceType,
    given,
    json_lines_option,
    json_option,
    seed_option,
    store_option,
    wait_option,
)
from perennial.replay.strategies.registry import STRATEGIES
from perennial.storage.errors import StorageUnavailable, UserError
from perennial.storage.objects.bucket import check_files
from perennial.storage.opening import open_for_writing, open_to_serve_readers

if TYPE_CHECKING:
    from perennial.replay.live.ingest import LiveRequest
    from perennial.replay.live.steps import Step
    from perennial.storage.log.rewrite import ErasedUser
    from perennial.storage.objects.bucket import Place

# Heavy imports are in the functions that need them, so that `--help` is fast.


@click.command()
@store_option("Created if absent.", must_exist=False)
@click.option(
    "--model",
    type=NameChoice(tuple(MODELS)),
    default="infinite-ae",
    help="Model that is kept current.",
)
@click.option(
    "--strategy",
    type=NameChoice(tuple(STRATEGIES)),
    help="Strategy: what it is refitted on.  [default: joint where the log is kept and fits in "
    "memory, else distill-cf]",
)
@seed_option
@options(
    settings=SettingOptions,
    protocol=ProtocolOptions,
    limits=LimitOptions,
    conditions=ConditionOptions,
    forget=ForgetOptions,
)
@click.option(
    "--keep-histories",
    type=NATURAL,
    default=0,
    metavar="N",
    help="Of what --forget-log-after drops, keep the last N items of each user.",
)
@click.option("--replace", is_flag=True, help="Start again if something else is fixed.")
@wait_option
@json_option
def init(
    store: Path,
    model: str,
    strategy: str | None,
    seed: int,
    keep_histories: int,
    replace: bool,
    wait: float,
    as_json: bool,
    settings: SettingOptions,
    protocol: ProtocolOptions,
    limits: LimitOptions,
    conditions: ConditionOptions,
    forget: ForgetOptions,
) -> None:
    """Fix which model is kept current in a store, and how.

    From then on `perennial ingest` evaluates the published model on each new period, refits it with
    the memory, and publishes it. The same command again changes nothing.
    """
    from perennial.replay.live.default_strategy import choose_default, default_of
    from perennial.replay.live.setup import configure_live, describe, live_to_json
    from perennial.storage.log.ledger import read_settings
    from perennial.storage.log.periods import list_periods
    from perennial.storage.reading.filters import describe_conditions
    from perennial.storage.reading.settings import DEFAULT_SETTINGS

    default = None
    if strategy is None:
        default = choose_default(
            model,
            keeps_log=forget.forget_log_after is None,
            has_memory_settings=settings.has_any_of("distill-cf"),
        )
        strategy = default.name
    chain = ChainOptions(models=(model,), strategies=(strategy,), seeds=(seed,))
    config = make_config(chain, settings, protocol, limits)
    with open_for_writing(store, wait) as opened:
        record = configure_live(
            opened,
            config,
            forget_log_after=forget.forget_log_after,
            keep_histories=keep_histories,
            conditions=conditions.to_settings(),
            replace=replace,
            default=default,
            has_own_limit=bool(given("memory_limit")),
        )
        held = len(list_periods(opened))
        names, printed = describe(opened, record), live_to_json(opened, record)
        counts = describe_conditions(read_settings(opened) or DEFAULT_SETTINGS)
    if as_json:
        click.echo(json.dumps({"store": str(store), **printed, "conditions": counts or None}))
        return
    echo(f"{store}: live with {names}" + (f"; files are read with {counts}" if counts else ""))
    if (chosen := default_of(record)) is not None:
        echo(f"{chosen.name} by default: {chosen.reason}")
    what = "perennial update" if held else "perennial ingest FILE..."
    echo(f"next: {what} --store {store}")


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=PlaceType(),
    callback=lambda _context, _parameter, files: check_files(files),
)
@store_option("Created if absent.", must_exist=False)
@click.option("--no-train", is_flag=True, help="Only take the files; `update` catches up.")
@options(late=LateOptions, forget=ForgetOptions, reading=ReadingOptions)
@wait_option
@json_option
def ingest(
    files: tuple["Place", ...],
    store: Path,
    no_train: bool,
    late: LateOptions,
    forget: ForgetOptions,
    reading: ReadingOptions,
    wait: float,
    as_json: bool,
) -> None:
    """Make each FILE the next period of the log in --store, in the order of their times.

    Reads Parquet, CSV, TSV (gzip too), MovieLens .dat, RecBole .inter and ADER's period_N.txt,
    here or at an address such as s3://BUCKET/KEY. A file goes in whole or not at all; one that is
    there already changes nothing. If `perennial init` fixed a live model, it is evaluated on
    each new period, refitted and published.
    """
    request = _make_request(reading, late, forget, train=not no_train)
    _ingest(store, files, request, wait, as_json)


@click.command()
@store_option("The store to bring up to date.")
@options(forget=ForgetOptions)
@wait_option
@json_option
def update(store: Path, forget: ForgetOptions, wait: float, as_json: bool) -> None:
    """Evaluate, refit and publish for the periods since the last publication.

    For use after `perennial ingest --no-train`, or after an interruption.
    """
    from perennial.replay.cli.progress import show_stages
    from perennial.replay.live.ingest import LiveRequest, bring_up_to_date, check_request
    from perennial.replay.live.setup import require_live

    with open_to_serve_readers(store, wait) as opened:
        require_live(opened)
        check_request(opened, LiveRequest(forget_log_after=forget.forget_log_after))
        with show_stages() as (_, listener):
            count = _print_steps(
                bring_up_to_date(opened, forget.forget_log_after, listener), as_json
            )
    if not count and not as_json:
        echo("up to date")


@click.command()
@click.argument("folder", type=PlaceType(file_okay=False))
@store_option("Created if absent.", must_exist=False)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=5.0,
    help="Seconds that a file must have stayed as it is.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.05),
    default=2.0,
    help="Seconds between two checks of the folder.",
)
@click.option("--once", is_flag=True, help="Take what is there, then end.")
@options(late=LateOptions, forget=ForgetOptions, reading=ReadingOptions)
@json_lines_option
def watch(
    folder: "Place",
    store: Path,
    settle: float,
    every: float,
    once: bool,
    late: LateOptions,
    forget: ForgetOptions,
    reading: ReadingOptions,
    as_json: bool,
) -> None:
    """Do as `ingest` for each file that appears in FOLDER, until interrupted.

    FOLDER is here, or an address such as s3://BUCKET/FOLDER.

    A file that is refused is reported, and left alone until it changes; if it is the store that
    takes nothing, its disk being full for instance, the file is tried again. Names that begin with
    a dot, or end as unfinished files do, are not looked at; write elsewhere and rename.
    """
    import time

    from perennial.replay.live.watch import WatchedFolder

    timed = given("settle", "every")
    if once and timed:
        raise click.UsageError(f"--{timed[0]} is for watching, and --once does not; leave one out")
    if isinstance(folder, Path) and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; create it first")
    request = _make_request(reading, late, forget, train=True)
    looked = WatchedFolder(folder, 0.0 if once else settle)
    failed, fault = False, ""
    while True:
        whole: tuple[Place, ...] = ()
        taken = 0
        try:
            whole = looked.poll()
            for path in whole:
                try:
                    _ingest(store, (path,), request, float("inf"), as_json)
                    fault = ""
                except StorageUnavailable:
                    raise
                except UserError as error:
                    failed = True
                    echo(f"error: {error}", err=True)
                taken += 1
        except StorageUnavailable as error:
            failed = True
            # The files are well: they are taken once the store is, still in their order.
            looked.forget(whole[taken:])
            if str(error) != fault:
                fault = str(error)
                echo(f"error: {fault}", err=True)
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
    and that is reported. An interrupted call is finished by `update`, or by the same again where
    nothing had changed yet.
    """
    from perennial.replay.cli.progress import show_stages
    from perennial.replay.live.ingest import forget_users

    with open_to_serve_readers(store, wait) as opened, show_stages() as (_, listener):
        _print_steps(forget_users(opened, users, listener), as_json)


def _make_request(
    reading: ReadingOptions, late: LateOptions, forget: ForgetOptions, *, train: bool
) -> "LiveRequest":
    from perennial.replay.live.ingest import LiveRequest

    return LiveRequest(reading.to_settings(), late.late, train, forget.forget_log_after)


def _ingest(
    store: Path, files: tuple["Place", ...], request: "LiveRequest", wait: float, as_json: bool
) -> None:
    from perennial.replay.cli.progress import show_stages
    from perennial.replay.live.ingest import take_files
    from perennial.storage.objects.copies import local_copies

    with (
        open_for_writing(store, wait) as opened,
        show_stages() as (progress, listener),
        local_copies(files, store.parent, progress) as paths,
    ):
        _print_steps(
            take_files(opened, paths, request, progress=progress, listener=listener), as_json
        )


def _print_steps(steps: "Iterable[Step | ErasedUser]", as_json: bool) -> int:
    """Print each step when it is done, or all as one JSON object; return their number."""
    from perennial.replay.live.steps import describe_layouts, describe_step, step_to_json
    from perennial.storage.log.ledger import IngestReport

    printed: list[dict[str, Any]] = []
    try:
        for step in steps:
            printed.append(step_to_json(step))
            if as_json:
                continue
            if isinstance(step, IngestReport):
                for line in describe_layouts(step):
                    echo(line, err=True)
            echo(describe_step(step))
    finally:
        # What was done before a mistake was met is done.
        if as_json:
            echo_as_is(json.dumps({"steps": printed}, allow_nan=False))
    return len(printed)
