"""How much the service takes on: sizes, times, and how many scorings run and wait."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.types import Send


class Refusal(Exception):  # noqa: N818 - it is no fault of the program
    """A request that is not served.

    Attributes:
        status: of the response.
        line: what is wrong and what to do, in one line.
        headers: of the response, besides those that all have.
    """

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = " ".join(line.split())
        self.headers = dict(headers or {})


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Answer with it, outside the framework."""
    body = json.dumps({"error": refusal.line}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **{name.lower(): value for name, value in refusal.headers.items()},
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


Result = TypeVar("Result")

RETRY_AFTER = {"Retry-After": "1"}
"""Seconds after which it is worth asking again."""


def _usual_scorings() -> int:
    return max(1, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class ServiceLimits:
    """What one request and all of them together may take.

    Attributes:
        max_body: bytes of a request's body.
        max_header: bytes of a request's line and headers.
        scorings: how many questions are scored at a time.
        waiting: how many more may wait for that.
        request_seconds: until a request is given up: its body, and then its answer.
        keep_alive_seconds: for which an idle connection stays open.
        connections: how many are open at a time.
        shutdown_seconds: for which requests in flight may go on when the service is told to end.
    """

    max_body: int = 2**20
    max_header: int = 2**14
    scorings: int = field(default_factory=_usual_scorings)
    waiting: int = 64
    request_seconds: float = 10.0
    keep_alive_seconds: int = 15
    connections: int = 1000
    shutdown_seconds: int = 10


class WorkQueue:
    """Worker threads, and a bounded number of places before them."""

    def __init__(self, name: str, workers: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(workers + waiting)

    async def do(self, work: Callable[[], Result]) -> Result:
        """Have it done in a worker thread.

        Raises:
            Refusal: 429, all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise Refusal(429, "too much work waits already; try again in a second", RETRY_AFTER)
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._places.release()
            raise Refusal(503, "the service is ending; ask another one", RETRY_AFTER) from None
        # Not when the request ends: one that is given up leaves its thread at work.
        future.add_done_callback(lambda _done: self._places.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what waits; what is being done ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
