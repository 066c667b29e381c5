"""`serve`."""

from pathlib import Path

import click

from perennial.replay.cli.options import file_option, parse_memory, store_option

# What is heavy is imported by the command that needs it, so that `--help` is quick.

_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command()
@store_option("The store whose newest published model answers.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 takes any that is free.",
)
@file_option(
    "--token-file",
    text="Holds the token that requests must carry; else PERENNIAL_TOKEN in the environment. "
    "Needed with a --host that others reach.",
    required=False,
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that requests may be addressed to, besides localhost; repeatable.",
)
@click.option(
    "--max-body",
    default="1MiB",
    show_default=True,
    metavar="SIZE",
    callback=parse_memory,
    help="Longest body of a request.",
)
@click.option(
    "--max-header",
    default="16KiB",
    show_default=True,
    metavar="SIZE",
    callback=parse_memory,
    help="Longest request line and headers.",
)
@click.option(
    "--scorings",
    type=click.IntRange(min=1),
    help="Questions answered at a time.  [default: one per core, 8 at most]",
)
@click.option(
    "--waiting",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Questions that may wait; more are told to come back (429).",
)
@click.option(
    "--request-timeout",
    type=_SECONDS,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For a body to come, and for an answer.",
)
@click.option(
    "--keep-alive",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    metavar="SECONDS",
    help="For which an idle connection stays open.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Open at a time.",
)
@click.option(
    "--shutdown-timeout",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="For requests in flight when the service is told to end.",
)
@click.option(
    "--check-every",
    type=_SECONDS,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for a new publication.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    show_default=True,
    help="A line for each request, without who asks or what.",
)
def serve(
    store: Path,
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    max_body: int,
    max_header: int,
    scorings: int | None,
    waiting: int,
    request_timeout: float,
    keep_alive: int,
    max_connections: int,
    shutdown_timeout: int,
    check_every: float,
    access_log: bool,
) -> None:
    """Answer over HTTP with the newest published model, and change to each newer one.

    The page is at /, the routes at /docs.
    """
    from perennial.replay.cli.errors import INTERRUPTED
    from perennial.replay.service.limits import ServiceLimits
    from perennial.replay.service.security import read_token
    from perennial.replay.service.server import ServerAddress, log_to_stderr, serve_store

    limits = ServiceLimits(
        max_body=max_body,
        max_header=max_header,
        waiting=waiting,
        request_seconds=request_timeout,
        keep_alive_seconds=keep_alive,
        connections=max_connections,
        shutdown_seconds=shutdown_timeout,
        **({} if scorings is None else {"scorings": scorings}),
    )
    listening = ServerAddress(host, port, read_token(token_file), allowed_hosts)
    log_to_stderr(access=access_log)
    if serve_store(store, listening, limits, check_every, lambda line: click.echo(line, err=True)):
        click.get_current_context().exit(INTERRUPTED)
