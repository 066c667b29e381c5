"""From the options of a command to the log and the replay that they ask for."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.replay.cli.options import READING
from perennial.replay.strategies.registry import STRATEGIES
from perennial.replay.study.workers.registry import LOCAL, open_executor

if TYPE_CHECKING:
    from perennial.replay.config import ReplayConfig
    from perennial.replay.logs import LogRequest, OpenLog
    from perennial.replay.study.workers.base import Executor


Setting = tuple[str, str, Any]


def asked_log(options: Mapping[str, Any]) -> "LogRequest":
    """The log that `log_options` ask for."""
    from perennial.replay.logs import LogRequest

    reading = {name: options[name] for name in READING if options[name] is not None}
    return LogRequest(
        options["source"],
        options["store"],
        options["cut"],
        options["periods"],
        reading,
        options.get("wait", 0.0),
    )


def asked_config(options: Mapping[str, Any]) -> "ReplayConfig":
    """The replay that `replay_options` ask for.

    Raises:
        UserError: names or settings that make no replay.
    """
    from perennial.replay.config import ReplayConfig, choose_models, choose_strategies
    from perennial.stream.next_period import ProtocolSettings

    of_strategies, of_models = split_settings(options["settings"])
    return ReplayConfig(
        strategies=options["strategies"],
        strategy_settings=choose_strategies(
            options["strategies"],
            of_strategies,
            budget=options["budget"],
            policy=options["memory_policy"],
            weight=options["memory_weight"],
        ),
        models=choose_models(options["models"], of_models, warm_start=options["warm_start"]),
        seeds=options["seeds"],
        protocol=ProtocolSettings(
            protocol=options["protocol"], mask_context=not options["no_mask"]
        ),
        max_rows=options["max_rows"],
        memory_limit=options["memory_limit"],
    )


def split_settings(
    settings: tuple[Setting, ...],
) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """Those of strategies, and the others."""
    of_strategies = tuple(one for one in settings if one[0] in STRATEGIES)
    return of_strategies, tuple(one for one in settings if one[0] not in STRATEGIES)


@contextmanager
def open_asked_log(
    asked: dict[str, Any], cache: Path | None, mirror: str | None
) -> Iterator["OpenLog"]:
    """The log that `log_options` ask for, in its store; says on stderr what was read and where."""
    from rich.console import Console

    from perennial.replay.cli.progress import show_bar
    from perennial.replay.live.steps import describe_ingest
    from perennial.replay.logs import open_log

    with ExitStack() as stack:
        with show_bar(Console(stderr=True)) as progress:
            opening = open_log(
                asked_log(asked), cache=cache or default_cache(), mirror=mirror, progress=progress
            )
            log = stack.enter_context(opening)
        for ingested in log.reports:
            click.echo(describe_ingest(ingested), err=True)
        click.echo(f"log and results: {log.path}", err=True)
        yield log


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def default_cache() -> Path:
    """Where downloads and generated logs go unless told."""
    from platformdirs import user_cache_path

    return user_cache_path("perennial")


def asks_for_engine(options: Mapping[str, Any]) -> bool:
    """Whether any of the `engine_options` was given something else than its default."""
    given = (options[name] for name in ("workers", "address", "gpus_per_cell"))
    return options["engine"] != LOCAL or any(given)


def asked_engine(options: Mapping[str, Any]) -> "AbstractContextManager[Executor]":
    """The engine that `engine_options` ask for; says on stderr what there is.

    Raises:
        click.UsageError: options that the engine does not have.
    """
    from perennial.replay.study.workers.base import ExecutorOptions

    name = options["engine"]
    if name == LOCAL:
        for flag, given in (
            ("--address", options["address"]),
            ("--gpus-per-cell", options["gpus_per_cell"]),
        ):
            if given:
                raise click.UsageError(f"{flag} is for clusters; give --engine ray with it")
    request = ExecutorOptions(options["workers"], options["address"], options["gpus_per_cell"])
    return open_executor(name, request, lambda text: click.echo(text, err=True))
