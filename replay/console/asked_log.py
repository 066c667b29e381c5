"""The log that a command is asked for, opened, with what a person is told about it on the way."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from replay.opening import OpenLog


@contextmanager
def open_asked_log(
    asked: dict[str, Any], cache: Path | None, mirror: str | None
) -> Iterator["OpenLog"]:
    """The log that `log_options` ask for, in its store; says on stderr what was read and where."""
    from rich.console import Console

    from replay.console.asked import asked_log
    from replay.console.screen import describe_ingest, show_bar
    from replay.opening import open_log

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
