"""What the service counts, for Prometheus."""

from datetime import UTC, datetime

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

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
