"""From the options of a command to the engine that makes its cells."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from replay.study.engines.registry import LOCAL, open_engine

if TYPE_CHECKING:
    from replay.study.engines.protocol import Engine


def asks_for_engine(options: Mapping[str, Any]) -> bool:
    """Whether any of the `engine_options` was given something else than its default."""
    given = (options[name] for name in ("workers", "address", "gpus_per_cell"))
    return options["engine"] != LOCAL or any(given)


def asked_engine(options: Mapping[str, Any]) -> "AbstractContextManager[Engine]":
    """The engine that `engine_options` ask for; says on stderr what there is.

    Raises:
        click.UsageError: options that the engine does not have.
    """
    from replay.study.engines.protocol import EngineRequest

    name = options["engine"]
    if name == LOCAL:
        for flag, given in (
            ("--address", options["address"]),
            ("--gpus-per-cell", options["gpus_per_cell"]),
        ):
            if given:
                raise click.UsageError(f"{flag} is for clusters; give --engine ray with it")
    request = EngineRequest(options["workers"], options["address"], options["gpus_per_cell"])
    return open_engine(name, request, lambda text: click.echo(text, err=True))
