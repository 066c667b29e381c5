"""`serve`: recommendations over HTTP."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.options import field, option, options
from perennial.replay.cli.parameters import (
    NATURAL,
    POSITIVE,
    file_option,
    parse_memory,
    store_option,
)
from perennial.storage.opening import require_store

if TYPE_CHECKING:
    from perennial.replay.service.limits import ServiceLimits
    from perennial.replay.service.server import ServerAddress

# Heavy imports are in the functions that need them, so that `--help` is fast.

_SECONDS = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class AddressOptions:
    """Address of the service, and requirements on requests."""

    host: str = option("--host", default="127.0.0.1", help="Address to listen on.")
    port: int = option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8080,
        help="Port to listen on; 0 takes any free one.",
    )
    token_file: Path | None = field(  # noqa: RUF009
        file_option(
            "--token-file",
            text="Holds the token that requests must carry; else PERENNIAL_TOKEN in the "
            "environment. Needed with a --host that others reach.",
            required=False,
        )
    )
    allowed_hosts: tuple[str, ...] = option(
        "--allowed-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME",
        help="A name that requests may be addressed to, besides localhost; repeatable.",
    )

    def to_address(self) -> "ServerAddress":
        """Return the address with its token; raise `UserError` if the token cannot be read."""
        from perennial.replay.service.security import read_token
        from perennial.replay.service.server import ServerAddress

        return ServerAddress(self.host, self.port, read_token(self.token_file), self.allowed_hosts)


@dataclass(frozen=True)
class ServiceOptions:
    """Limits of the service: the fields of `ServiceLimits`."""

    max_body: int = option(
        "--max-body",
        default="1MiB",
        metavar="SIZE",
        callback=parse_memory,
        help="Longest body of a request.",
    )
    max_header: int = option(
        "--max-header",
        default="16KiB",
        metavar="SIZE",
        callback=parse_memory,
        help="Longest request line and headers.",
    )
    scorings: int | None = option(
        "--scorings",
        type=POSITIVE,
        help="Queries scored at a time.  [default: one per core, 8 at most]",
    )
    waiting: int = option(
        "--waiting", type=NATURAL, default=64, help="Queries that may wait; more are refused (429)."
    )
    request_seconds: float = option(
        "--request-timeout",
        "request_seconds",
        type=_SECONDS,
        default=10.0,
        metavar="SECONDS",
        help="Time limit of a request's body, and of its answer.",
    )
    keep_alive_seconds: int = option(
        "--keep-alive",
        "keep_alive_seconds",
        type=POSITIVE,
        default=15,
        metavar="SECONDS",
        help="Time after which an idle connection is closed.",
    )
    connections: int = option(
        "--max-connections",
        "connections",
        type=POSITIVE,
        default=1000,
        help="Maximum number of open connections.",
    )
    shutdown_seconds: int = option(
        "--shutdown-timeout",
        "shutdown_seconds",
        type=NATURAL,
        default=10,
        metavar="SECONDS",
        help="Time for requests in flight when the service shuts down.",
    )

    def to_limits(self) -> "ServiceLimits":
        """Return the limits, with the service's own number of scorings if none is given."""
        from perennial.replay.service.limits import ServiceLimits

        return ServiceLimits(
            **{name: value for name, value in vars(self).items() if value is not None}
        )


@click.command()
@store_option("The store whose newest published model answers.", must_exist=False)
@options(address=AddressOptions, service=ServiceOptions)
@click.option(
    "--check-every",
    type=_SECONDS,
    default=1.0,
    metavar="SECONDS",
    help="Time between two checks for a new publication.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    help="Print a line for each request, without users or items.",
)
def serve(
    store: Path,
    address: AddressOptions,
    service: ServiceOptions,
    check_every: float,
    access_log: bool,
) -> None:
    """Answer over HTTP with the newest published model, and change to each newer one.

    The page is at /, the routes at /docs.
    """
    require_store(store, "`perennial init`")
    from perennial.replay.cli.errors import INTERRUPTED
    from perennial.replay.service.server import log_to_stderr, serve_store

    listening = address.to_address()
    log_to_stderr(access=access_log)
    if serve_store(
        store, listening, service.to_limits(), check_every, lambda line: echo(line, err=True)
    ):
        click.get_current_context().exit(INTERRUPTED)
