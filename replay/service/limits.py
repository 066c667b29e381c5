"""Limits of the service, refusals, and a bounded queue of work."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.types import Send

Result = TypeVar("Result")

RETRY_AFTER = {"Retry-After": "1"}
"""Header of a refusal after which the client should retry; in seconds."""


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of one request and of all requests together, in bytes and seconds.

    `request_seconds` are for a request's body, and then for its response; `waiting` queries wait
    next to the `scorings` that run; `keep_alive_seconds` end an idle connection.
    """

    max_body: int = 2**20
    max_header: int = 2**14
    scorings: int = field(default_factory=lambda: max(1, min(8, os.cpu_count() or 1)))
    waiting: int = 64
    request_seconds: float = 10.0
    keep_alive_seconds: int = 15
    connections: int = 1000
    shutdown_seconds: int = 10


class Refusal(Exception):  # noqa: N818 - it is no fault of the program
    """A request that is not served; its headers are added to those of every response."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())
        self.headers = dict(headers or {})


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Send a refusal as the response, outside the framework."""
    body = json.dumps({"error": refusal.message}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **{name.lower(): value for name, value in refusal.headers.items()},
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class WorkQueue:
    """Worker threads with a bounded number of waiting calls."""

    def __init__(self, name: str, workers: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(workers + waiting)

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run a function in a worker thread.

        Raises:
            Refusal: 429, all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise Refusal(429, "too much work waits already; try again in a second", RETRY_AFTER)
        try:
            future = self._pool.submit(function)
        except RuntimeError:
            self._places.release()
            raise Refusal(503, "the service is ending; ask another one", RETRY_AFTER) from None
        # Freed when the thread ends, not the request: a request that timed out leaves its thread
        # running. anyio's CapacityLimiter frees the place at the timeout, so it is not used here.
        future.add_done_callback(lambda _done: self._places.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop the waiting calls; running ones end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
