"""Checks that a request must pass before the routes: host, token, size, and time."""

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
"""Names of this machine in a browser that runs on it."""

TOKEN_VARIABLE = "PERENNIAL_TOKEN"  # noqa: S105 - a name
_MIN_TOKEN_LENGTH = 16
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d*)?")
_CLOSE = {"Connection": "close"}
"""Header for a request whose body is not read to its end: the rest is no new request."""


def is_loopback(host: str) -> bool:
    """Return whether an address or host name can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path | None) -> str | None:
    """Read the token from a file, or from the environment if `file` is `None`; `None` without one.

    Raises:
        UserError: the file cannot be read, or the token is too short or has other characters.
    """
    if file is None:
        token, source = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not token:
            return None
    else:
        source = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = getattr(error, "strerror", None) or "no text"
            raise UserError(f"{file}: cannot be read ({cause}); name the token's file") from None
    printable = token.isascii() and token.isprintable() and " " not in token
    if len(token) < _MIN_TOKEN_LENGTH or not printable:
        raise UserError(
            f"{source}: a token is one word of {_MIN_TOKEN_LENGTH} or more ASCII characters; "
            'make one with `python -c "import secrets; print(secrets.token_urlsafe())"`'
        )
    return token


class GuardedApp:
    """ASGI layer that checks each request and reads its body within the limits.

    Args:
        app: the inner application.
        limits: limits of a request.
        token: token that all paths except `public_paths` need; `None` for no token.
        public_paths: paths that need no token.
        hosts: host names that requests may be addressed to; `None` for any. Without this check a
            page of another site could read responses by pointing its own name at this machine (DNS
            rebinding).
    """

    # Starlette's TrustedHostMiddleware and FastAPI's HTTPBearer answer with bodies of their own,
    # and a dependency runs after the body was read and not at all for unknown paths.

    def __init__(
        self,
        app: ASGIApp,
        limits: ServiceLimits,
        *,
        token: str | None,
        public_paths: Iterable[str],
        hosts: Iterable[str] | None,
    ) -> None:
        self._app, self._limits = app, limits
        self._token = None if token is None else _digest(token.encode())
        self._public = frozenset(public_paths)
        self._hosts = None if hosts is None else frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then pass it on with its body in one message."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._check_length(scope)
            headers = dict(scope["headers"])
            self._check_framing(headers)
            self._check_host(headers)
            self._check_token(scope["path"], headers)
            body = await self._read_body(headers, receive)
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, _replay(body, receive), send_and_note)
        except Refusal as refusal:
            await send_refusal(send, refusal)
        except TimeoutError:
            if started:
                raise
            message = f"no answer within {self._limits.request_seconds:g} seconds; try again later"
            await send_refusal(send, Refusal(503, message, RETRY_AFTER))

    def _check_length(self, scope: Scope) -> None:
        """Limit headers that have arrived; the server limits incomplete ones only."""
        length = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
        length += sum(len(name) + len(value) for name, value in scope["headers"])
        if length > self._limits.max_header:
            message = f"address and headers are longer than {self._limits.max_header:,} bytes"
            raise Refusal(431, f"{message}; ask with POST", _CLOSE)

    @staticmethod
    def _check_framing(headers: dict[bytes, bytes]) -> None:
        """Refuse two lengths: a proxy may have used the other one (RFC 9112, section 6.1)."""
        if b"content-length" in headers and b"transfer-encoding" in headers:
            message = "a body has either Content-Length or Transfer-Encoding; leave one out"
            raise Refusal(400, message, _CLOSE)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        if self._hosts is None:
            return
        match = _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1"))
        if match is None or match[1].lower() not in self._hosts:
            message = "this host name is not served; use the service's own, or --allowed-host"
            raise Refusal(400, message, _CLOSE)

    def _check_token(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._token is None or path in self._public:
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        # Digests, so that the comparison's time does not even depend on the token's length.
        equal = hmac.compare_digest(_digest(token.strip()), self._token)
        if scheme.lower() != b"bearer" or not equal:
            raise Refusal(
                401,
                "a token is needed; send it as `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer", **_CLOSE},
            )

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body, but stop as soon as it is too long or too slow."""
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
        message = f"the body is longer than {self._limits.max_body:,} bytes; ask for less at a time"
        return Refusal(413, message, _CLOSE)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that delivers the body as one message, and then whatever follows."""
    delivered = False

    async def receive_again() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
