"""The application in the test's process, and requests to it."""

import asyncio
import threading
from contextlib import contextmanager
from datetime import datetime

import httpx
import uvicorn
from patience import PATIENCE, wait_until

from perennial.replay.recommend.recommender import RecommendedItem
from perennial.replay.service.app import Service, create_app
from perennial.replay.service.limits import ServiceLimits, WorkQueue
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.replay.service.reload import CurrentModel
from perennial.replay.service.server import bind, configure_server

TOKEN = "t" * 20

VALUES = [{"period": 2, "value": 31.5}]
STATUS = {
    "store": "live.duckdb", "strategy": "individual", "model": "infinite-ae", "seed": 0,
    "config": {}, "periods": 2, "newest_period": 2, "published_period": 2,
    "published": "2026-01-02T03:04:05+00:00", "periods_behind": 0, "held_from": 1,
    "metrics": [{"metric": "HR", "k": 10, "label": "HR@10", "values": VALUES, "mean": 31.5}],
    "memory": [{"period": 1, "rows": 5, "entries": 40, "bytes": 480}],
    "log": {"interactions": 360, "kept": 360, "users": 30, "items": 24}, "model_bytes": 20_000,
    "store_bytes": 4_000_000,
}  # fmt: skip


class FixedStatus:
    """Status reader without a store; raises the status if it is an error."""

    def __init__(self, status=STATUS):
        self._status = status

    def read(self):
        if isinstance(self._status, Exception):
            raise self._status
        return self._status


class FakeRecommender:
    """Recommender that returns what the test gives."""

    period, published, fit_key = 7, datetime(2026, 1, 2, 3, 4, 5), "0123456789abcdef" * 2
    strategy, model_name = "individual", "infinite-ae"
    has_erased_users = False

    def __init__(self, recommend=None):
        self._recommend = recommend or (lambda _query: (RecommendedItem("i1", 0.5, None),))

    def recommend(self, query):
        return self._recommend(query)

    def without_erased_users(self, _store):
        return self


def make_service(recommender=None, *, scorings=2, waiting=8, status=None):
    queue = WorkQueue("scoring", scorings, waiting)
    return Service(CurrentModel(recommender), ServiceMetrics(), status or FixedStatus(), queue)


def make_app(recommender=None, limits=None, *, token=None, hosts=None, service=None):
    return create_app(
        service or make_service(recommender), limits or ServiceLimits(), token=token, hosts=hosts
    )


@contextmanager
def serving(app, limits=ServiceLimits()):  # noqa: B008 - immutable
    """The application on a port of this machine; yields the bound socket."""
    with bind("127.0.0.1", 0) as bound:
        server = uvicorn.Server(configure_server(app, limits))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield bound
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def call(app, method, path, **options):
    """Send one request."""
    return calls(app, [(method, path, options)])[0]


def calls(app, requests):
    """Send several requests at the same time."""

    async def send_all():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(
                *(client.request(method, path, **options) for method, path, options in requests)
            )

    return asyncio.run(send_all())
