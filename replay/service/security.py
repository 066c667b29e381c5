"""What a request must pass before the routes see it: its host, its token, its size, its time."""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perennial.replay.service.limits import RETRY_AFTER, Refusal, ServiceLimits, send_refusal
from perennial.storage.errors import UserError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What a browser on this machine calls it."""

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d*)?")
_CLOSE = {"Connection": "close"}
"""For a request whose body is not read to its end: what follows is no new request."""


def is_loopback(host: str) -> bool:
    """Whether an address, or a host's name, is this machine's own and no other's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class GuardedApp:
    """An application behind the checks.

    Args:
        app: what is behind them.
        limits: of a request.
        token: that all paths but `open_paths` ask for; `None` for no such check.
        open_paths: need no token: a browser cannot send one before it has the page.
        hosts: names that requests may be addressed to; `None` for any. Without this check a page
            from elsewhere could read the answers, its name made to point here (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: ServiceLimits,
        *,
        token: str | None,
        open_paths: Iterable[str],
        hosts: Iterable[str] | None,
    ) -> None:
        self._app, self._limits = app, limits
        self._token = None if token is None else _digest(token.encode())
        self._open = frozenset(open_paths)
        self._hosts = None if hosts is None else frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then pass it on with its body in one piece."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._check_length(scope)
            headers = dict(scope["headers"])
            self._check_host(headers)
            self._check_token(scope["path"], headers)
            body = await self._body(headers, receive)
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, _replay(body, receive), sending)
        except Refusal as refusal:
            await send_refusal(send, refusal)
        except TimeoutError:
            if started:
                raise
            line = f"no answer within {self._limits.request_seconds:g} seconds; try again later"
            await send_refusal(send, Refusal(503, line, RETRY_AFTER))

    def _check_length(self, scope: Scope) -> None:
        """The server's own limit is on what has not all come yet; this one is on what has."""
        length = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
        length += sum(len(name) + len(value) for name, value in scope["headers"])
        if length > self._limits.max_header:
            line = f"address and headers are longer than {self._limits.max_header:,} bytes"
            raise Refusal(431, f"{line}; ask with POST", _CLOSE)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        if self._hosts is None:
            return
        found = _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1"))
        if found is None or found[1].lower() not in self._hosts:
            raise Refusal(
                400,
                "this host name is not served; use the service's own, or --allowed-host",
                _CLOSE,
            )

    def _check_token(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._token is None or path in self._open:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Digests, so that not even the length shows in the time.
        right = hmac.compare_digest(_digest(given.strip()), self._token)
        if scheme.lower() != b"bearer" or not right:
            raise Refusal(
                401,
                "a token is needed; send it as `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer", **_CLOSE},
            )

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """All of the body, which ends as soon as it is too long or too slow."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._limits.max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the connection ended before the body did", _CLOSE)
                    body += message.get("body", b"")
                    if len(body) > self._limits.max_body:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            line = f"the body did not come within {self._limits.request_seconds:g} seconds"
            raise Refusal(408, line, _CLOSE) from None

    def _too_large(self) -> Refusal:
        line = f"the body is longer than {self._limits.max_body:,} bytes; ask for less at a time"
        return Refusal(413, line, _CLOSE)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A channel that gives the body as one message, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


VARIABLE = "PERENNIAL_TOKEN"
_SHORTEST = 16


def read_token(file: Path | None) -> str | None:
    """From a file, else from the environment; `None` where neither has one.

    Raises:
        UserError: the file cannot be read, or what it holds is no good token.
    """
    if file is None:
        token, where = os.environ.get(VARIABLE, "").strip(), VARIABLE
        if not token:
            return None
    else:
        where = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or "no text"
            raise UserError(f"{file}: cannot be read ({words}); name the token's file") from None
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            f"{where}: a token is one word of {_SHORTEST} or more ASCII characters; make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe())"`'
        )
    return token
