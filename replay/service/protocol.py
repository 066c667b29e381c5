"""HTTP/1.1 protocol of the service: uvicorn's, with answers of our own below the application."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from perennial.replay.service.limits import RETRY_AFTER, Refusal, send_refusal
from perennial.replay.service.monitoring import add_security_headers

_MESSAGES: Mapping[int, str] = {
    400: "the request is no valid HTTP/1.1",
    431: "address and headers are too long; ask with POST",
    501: "a body may be chunked, and have no other transfer encoding",
}


class ServiceProtocol(H11Protocol):
    """Protocol that answers malformed and surplus requests as the application does."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most, self._inner = self.limit_concurrency, self.app
        # uvicorn's own answer is plain text without the security headers.
        self.limit_concurrency = None
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it if there are too many connections."""
        # Both numbers include this request's own.
        busy = max(len(self.connections), len(self.tasks) - 1)
        if self._most is None or busy < self._most:
            await self._inner(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": add_security_headers(message["headers"])}
            await send(message)

        line = "too many connections are open; try again in a second"
        refusal = Refusal(503, line, {**RETRY_AFTER, "Connection": "close"})
        await send_refusal(send_with_headers, refusal)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP with one line of JSON, and close the connection.

        Called by uvicorn while it handles h11's error; after an answer has begun, only close.
        """
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = getattr(sys.exc_info()[1], "error_status_hint", 400)
            body = json.dumps({"error": _MESSAGES.get(status, _MESSAGES[400])}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=add_security_headers(headers)),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
