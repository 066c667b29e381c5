"""From a store's path to a running service."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from perennial.replay.live.status import read_status
from perennial.replay.service.app import Service, create_app
from perennial.replay.service.limits import ServiceLimits, WorkQueue
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StatusReader, StoreFile, Watcher
from perennial.replay.service.security import LOOPBACK_NAMES, is_loopback
from perennial.storage.errors import UserError

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


_TRIES = 10
"""How often the store is tried at first, twice a second: a writer may be in the middle."""


@dataclass(frozen=True)
class ServerAddress:
    """Where the service listens, and to whom.

    Attributes:
        host: an address of this machine.
        port: 0 for any that is free.
        token: that requests must carry.
        allowed_hosts: names that requests may be addressed to, besides those of loopback.
    """

    host: str
    port: int
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()

    def hosts(self) -> tuple[str, ...] | None:
        """Names that requests may be addressed to; `None` for any."""
        if not is_loopback(self.host) and not self.allowed_hosts:
            # A page from elsewhere that has its own name point here has no token.
            return None
        return (*LOOPBACK_NAMES, self.host, f"[{self.host}]", *self.allowed_hosts)


def serve_store(
    path: Path,
    listening: ServerAddress,
    limits: ServiceLimits,
    check_every: float,
    say: Callable[[str], None],
) -> bool:
    """Serve the newest published model of a store until told to end.

    Returns:
        Whether it was Ctrl-C that told so.

    Raises:
        UserError: no such store, a port in use, or others could ask without a token.
    """
    if listening.token is None and not is_loopback(listening.host):
        raise UserError(
            f"--host {listening.host}: others reach it, so a token is needed; give one with "
            "--token-file FILE or in PERENNIAL_TOKEN"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such store; make one with `perennial init`")
    with bind(listening.host, listening.port) as bound:
        file, current, metrics = StoreFile(path), CurrentModel(), ServiceMetrics()
        watcher = Watcher(file, current, metrics, every=check_every)
        _look_first(watcher)
        if current.answers is None:
            say(f"{path}: nothing is published yet; /recommend answers 503 until it is")
        service = Service(
            current,
            metrics,
            StatusReader(file, lambda store: read_status(store).to_json()),
            WorkQueue("scoring", limits.scorings, limits.waiting),
        )
        app = create_app(service, limits, token=listening.token, hosts=listening.hosts())

        def ready() -> None:
            watcher.start()
            say(f"serving {path} at {address_of(bound)}; Ctrl-C ends it")

        try:
            return run_until_told(app, bound, limits, ready)
        finally:
            watcher.stop()
            service.close()


def _look_first(watcher: Watcher) -> None:
    """Load the model, or fail where the store cannot be read at all."""
    for left in reversed(range(_TRIES)):
        try:
            watcher.look()
        except UserError:
            if left == 0:
                raise
            time.sleep(0.5)
        else:
            return
