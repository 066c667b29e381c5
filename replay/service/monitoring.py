"""The outermost layer: counts and logs each request, and adds the headers that all answers have."""

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perennial.replay.service.limits import Refusal, send_refusal

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """One service's figures, in a registry of their own.

    Attributes:
        in_flight: requests being answered.
        swaps: models that took another one's place, or the first place.
        failed_swaps: looks at the store that failed.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        by = ("route", "status")
        self._requests = Counter("perennial_requests", "Requests answered.", by, registry=registry)
        self._seconds = Histogram(
            "perennial_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            by,
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "perennial_refused",
            "Requests refused for want of room or time, by status.",
            ("status",),
            registry=registry,
        )
        self.in_flight = Gauge(
            "perennial_requests_in_flight", "Requests being answered.", registry=registry
        )
        self.swaps = Counter(
            "perennial_swaps", "Published models taken into service.", registry=registry
        )
        self.failed_swaps = Counter(
            "perennial_failed_swaps",
            "Looks for a new model that failed; they are tried again.",
            registry=registry,
        )
        self._period = Gauge(
            "perennial_model_period", "Newest period that the model has seen.", registry=registry
        )
        self._published = Gauge(
            "perennial_published_timestamp_seconds",
            "When the model was published, Unix time.",
            registry=registry,
        )

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route, str(status)).observe(seconds)
        if status in (408, 413, 429, 431, 503):
            self._refused.labels(str(status)).inc()

    def note_model(self, period: int, published: datetime) -> None:
        """Count a swap.

        Args:
            period: that the model has seen.
            published: UTC, without a zone.
        """
        self.swaps.inc()
        self._period.set(period)
        self._published.set(published.replace(tzinfo=UTC).timestamp())

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


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


class MonitoredApp:
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
