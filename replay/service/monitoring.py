"""Outermost layer of the service: metrics, access log, and the headers of every response."""

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
LOG = logging.getLogger("perennial.service")
ACCESS = logging.getLogger("perennial.access")

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Responses contain personal data and are soon outdated; static files set their own value.
    "cache-control": "no-store",
}
"""No script but our own files, no request to another host, no embedding in a frame."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """Prometheus metrics of one service, in a registry of their own."""

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
            "Requests refused for lack of room or time, by status.",
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
            "Checks for a new model that failed; they are tried again.",
            registry=registry,
        )
        self._period = Gauge(
            "perennial_model_period",
            "Newest period that the model was fitted on.",
            registry=registry,
        )
        self._published = Gauge(
            "perennial_published_timestamp_seconds",
            "When the model was published, Unix time.",
            registry=registry,
        )

    def record_request(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route, str(status)).observe(seconds)
        if status in (408, 413, 429, 431, 503):
            self._refused.labels(str(status)).inc()

    def record_model(self, period: int, published: datetime) -> None:
        """Count a model taken into service, published at a UTC time without a zone."""
        self.swaps.inc()
        self._period.set(period)
        self._published.set(published.replace(tzinfo=UTC).timestamp())

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class MonitoredApp:
    """ASGI layer that counts and logs requests, and adds the security headers.

    Args:
        app: the inner application.
        metrics: metrics of the service.
        routes: paths that are counted by name; all others are `other`, so that clients cannot fill
            the memory with invented paths.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, routes: Iterable[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record it when its response has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0
        route = scope["path"] if scope["path"] in self._routes else "other"

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": add_security_headers(message["headers"])}
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            LOG.exception("a request to %s failed", route)
            if status == 0:
                message = "an error inside the service; details are in its log"
                await send_refusal(send_with_headers, Refusal(500, message))
        finally:
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - begin
            self._metrics.record_request(route, status, seconds)
            # Neither the query nor the client's address, which identify users.
            method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
            ACCESS.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)


def add_security_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add the security headers that a response does not set itself."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return own + [
        (name.encode(), value.encode())
        for name, value in SECURITY_HEADERS.items()
        if name.encode() not in names
    ]
