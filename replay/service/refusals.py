"""How the service says no: a status and one line, as JSON."""

import json
from collections.abc import Mapping

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
