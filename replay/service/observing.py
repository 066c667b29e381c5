"""The outermost layer: counts and logs each request, and adds the headers that all answers have."""

import logging
import time
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replay.service.metrics import ServiceMetrics
from replay.service.refusals import Refusal, send_refusal

LOG = logging.getLogger("perennial.service")
ACCESS = logging.getLogger("perennial.access")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Answers are about people, and of one moment; files say otherwise for themselves.
    "cache-control": "no-store",
}
"""No script but our own files, no request elsewhere, no frame around it."""


class Observed:
    """An application under observation.

    Args:
        app: what is observed.
        metrics: where it is counted.
        routes: paths that are told apart; others are `other`, so that nobody can fill the memory
            with names of their own.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, routes: Iterable[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; count it when its answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_security(message["headers"])}
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, sending)
        except Exception:
            LOG.exception("a request to %s failed", self._route(scope))
            if status == 0:
                line = "that should not happen; the service's log says more"
                await send_refusal(sending, Refusal(500, line))
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, time.perf_counter() - begin)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Route, status and time: neither the query nor the address, which tell who asks."""
        route = self._route(scope)
        self._metrics.note_request(route, status, seconds)
        method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
        ACCESS.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)

    def _route(self, scope: Scope) -> str:
        return scope["path"] if scope["path"] in self._routes else "other"


def _with_security(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return own + [
        (name.encode(), value.encode())
        for name, value in SECURITY_HEADERS.items()
        if name.encode() not in names
    ]
