"""The service as a process: its socket, its signals, its end."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from replay.service.limits import ServiceLimits
from storage.errors import UserError

LOG = logging.getLogger("perennial")


def bind(host: str, port: int) -> socket.socket:
    """Open the socket before anything heavy is loaded.

    Raises:
        UserError: the port is in use, or the host is none of this machine's.
    """
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server((address[0], port), family=family, backlog=1024)
    except OSError as error:
        # What Python makes of it repeats the address; a name that is not found has no number.
        number = None if isinstance(error, socket.gaierror) else error.errno
        words = str(error.strerror or error) if number is None else os.strerror(number)
        raise UserError(
            f"{host}:{port}: {words.lower()}; choose another with --host and --port, or end what "
            "has it"
        ) from None


def address_of(bound: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def log_to_stderr(*, access: bool) -> None:
    """One line per event; what is asked and by whom is in none of them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    logging.getLogger("perennial.access").setLevel(logging.INFO if access else logging.ERROR)
    server = logging.getLogger("uvicorn")
    server.addHandler(handler)
    server.setLevel(logging.WARNING)
    server.propagate = False


def run_until_told(
    app: ASGIApp, bound: socket.socket, limits: ServiceLimits, ready: Callable[[], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C; requests in flight are answered first.

    Args:
        app: what is served.
        bound: where.
        limits: of connections.
        ready: called before the first request.

    Returns:
        Whether it was Ctrl-C.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    # The server takes the signals for itself, and raises them again when it has ended: here.
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        if not received:
            uvicorn.Server(_config(app, limits)).run(sockets=[bound])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return signal.SIGINT in received


def _config(app: ASGIApp, limits: ServiceLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody's address is looked at, so no proxy needs to be believed.
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.max_header,
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
