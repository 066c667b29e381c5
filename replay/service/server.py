"""A running service: its address, log, signals, HTTP/1.1 protocol and start from a store."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from perennial.replay.live.status import read_status
from perennial.replay.service.app import Service, create_app
from perennial.replay.service.limits import (
    RETRY_AFTER,
    Refusal,
    ServiceLimits,
    WorkQueue,
    send_refusal,
)
from perennial.replay.service.monitoring import ServiceMetrics, add_security_headers
from perennial.replay.service.reload import CurrentModel, StatusReader, StoreFile, Watcher
from perennial.replay.service.security import LOOPBACK_NAMES, is_loopback
from perennial.storage.base import escape_controls
from perennial.storage.errors import UserError
from perennial.storage.opening import require_store

_MESSAGES: Mapping[int, str] = {
    400: "the request is no valid HTTP/1.1",
    431: "address and headers are too long; ask with POST",
    501: "a body may be chunked, and have no other transfer encoding",
}


class ServiceProtocol(H11Protocol):
    """Protocol that answers malformed and surplus requests as the application does."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most, self._inner = self.limit_concurrency, self.app
        # uvicorn's own answer is plain text without the security headers.
        self.limit_concurrency = None
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it if there are too many connections."""
        # Both numbers include this request's own.
        busy = max(len(self.connections), len(self.tasks) - 1)
        if self._most is None or busy < self._most:
            await self._inner(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": add_security_headers(message["headers"])}
            await send(message)

        line = "too many connections are open; try again in a second"
        refusal = Refusal(503, line, {**RETRY_AFTER, "Connection": "close"})
        await send_refusal(send_with_headers, refusal)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP with one line of JSON, and close the connection.

        Called by uvicorn while it handles h11's error; after an answer has begun, only close.
        """
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = getattr(sys.exc_info()[1], "error_status_hint", 400)
            body = json.dumps({"error": _MESSAGES.get(status, _MESSAGES[400])}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=add_security_headers(headers)),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


LOG = logging.getLogger("perennial")

_ATTEMPTS = 10
"""Attempts to read the store at the start, twice a second: a writer may be busy."""


@dataclass(frozen=True)
class ServerAddress:
    """Address of the service, port 0 for any free one, and the token that requests must have.

    Requests may be addressed to `allowed_hosts`, besides the names of loopback.
    """

    host: str
    port: int
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()

    def hosts(self) -> tuple[str, ...] | None:
        """Return the host names that requests may be addressed to; `None` for any."""
        if not is_loopback(self.host) and not self.allowed_hosts:
            # A page of another site that points its own name at this machine has no token.
            return None
        return (*LOOPBACK_NAMES, self.host, f"[{self.host}]", *self.allowed_hosts)


def serve_store(
    path: Path,
    address: ServerAddress,
    limits: ServiceLimits,
    check_every: float,
    report: Callable[[str], None],
) -> bool:
    """Serve the newest published model of a store until a signal; return whether it was Ctrl-C.

    Checks for a new publication are `check_every` seconds apart; `report` is called with each
    message for the terminal.

    Raises:
        UserError: no such store, a port in use, or no token on an address that others reach.
    """
    if address.token is None and not is_loopback(address.host):
        raise UserError(
            f"--host {address.host}: others reach it, so a token is needed; give one with "
            "--token-file FILE or in PERENNIAL_TOKEN"
        )
    require_store(path, "`perennial init`")
    # The socket comes before the model, which takes long to load.
    with bind(address.host, address.port) as bound:
        file, current, metrics = StoreFile(path), CurrentModel(), ServiceMetrics()
        watcher = Watcher(file, current, metrics, every=check_every)
        _check_first(watcher)
        if current.recommender is None:
            report(f"{path}: nothing is published yet; /recommend answers 503 until it is")
        service = Service(
            current,
            metrics,
            StatusReader(file, lambda store: read_status(store).to_json()),
            WorkQueue("scoring", limits.scorings, limits.waiting),
            watcher.drop_erased_users,
        )
        app = create_app(service, limits, token=address.token, hosts=address.hosts())

        def start() -> None:
            watcher.start()
            report(f"serving {path} at {url_of(bound)}; Ctrl-C ends it")

        try:
            return run_until_signal(app, bound, limits, start)
        finally:
            watcher.stop()
            service.close()


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; `UserError` if the port is in use, or the host is elsewhere."""
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server((address[0], port), family=family, backlog=1024)
    except OSError as error:
        # Python's own text repeats the address; an unknown host name has no error number.
        number = None if isinstance(error, socket.gaierror) else error.errno
        cause = str(error.strerror or error) if number is None else os.strerror(number)
        raise UserError(
            f"{host}:{port}: {cause.lower()}; choose another with --host and --port, or end what "
            "has it"
        ) from None


def url_of(bound: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _PlainFormatter(logging.Formatter):
    """Formatter whose events are one line each; control characters are made visible."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escape_controls(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record), keep="\n")


def log_to_stderr(*, access: bool) -> None:
    """Log one line per event, without queries and users."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("perennial.access").setLevel(logging.INFO if access else logging.ERROR)
    for logger, level in ((LOG, logging.INFO), (logging.getLogger("uvicorn"), logging.WARNING)):
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


def configure_server(app: ASGIApp, limits: ServiceLimits) -> uvicorn.Config:
    """Return the settings of the HTTP server."""
    return uvicorn.Config(
        app,
        http=ServiceProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # No client address is used, so no proxy needs to be trusted.
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.max_header,
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )


def run_until_signal(
    app: ASGIApp, bound: socket.socket, limits: ServiceLimits, start: Callable[[], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C, and return whether it was Ctrl-C.

    `start` is called before the first request; requests in flight at the end are answered first.
    """
    received: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    # uvicorn handles the signals itself, and raises them again at its end: they arrive here.
    previous = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        start()
        if not received:
            uvicorn.Server(configure_server(app, limits)).run(sockets=[bound])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return signal.SIGINT in received


def _check_first(watcher: Watcher) -> None:
    """Load the model, or fail if the store cannot be read at all."""
    for remaining in reversed(range(_ATTEMPTS)):
        try:
            watcher.check()
        except UserError:
            if remaining == 0:
                raise
            time.sleep(0.5)
        else:
            return
