"""A local file server with configurable errors."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from perennial.stream.sources.download import RemoteFile


@dataclass
class FileServer:
    """Served files, configured errors, and received requests."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    weak_tags: bool = False
    dates: bool = False
    lengths: bool = True
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def remote(self, name, content=None, **fields):
        """Name a file of this server; the checksum is that of `content`, or of what is served."""
        expected = self.files["/" + name] if content is None else content
        values = {
            "folder": self.address,
            "name": name,
            "checksum": f"sha256:{hashlib.sha256(expected).hexdigest()}",
            "checksum_from": "the test",
            "max_bytes": 10_000_000,
        }
        return RemoteFile(**(values | fields))

    @property
    def ranges_asked(self):
        return [asked for _, asked, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FileServer

    def do_GET(self):
        state = self.state
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        state.requests.append((self.path, asked, condition))
        if self.path in state.moved:
            return self._answer(302, b"", {"Location": state.moved[self.path]})
        if state.statuses:
            return self._answer(state.statuses.pop(0), b"")
        if self.path not in state.files:
            return self._answer(404, b"")
        content = state.files[self.path]
        version = hashlib.sha256(content).hexdigest()[:8]
        headers = {}
        if state.tags:
            headers["ETag"] = f'W/"{version}"' if state.weak_tags else f'"{version}"'
        if state.dates:
            headers["Last-Modified"] = f"Mon, 01 Jan 2024 00:00:{int(version, 16) % 60:02} GMT"
        fresh = condition in (None, headers.get("ETag"), headers.get("Last-Modified"))
        if asked and state.ranges and fresh:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._answer(206, content[start:], headers)
        return self._answer(200, content, headers)

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.state.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        cut = self.state.cuts.pop(0) if self.state.cuts and body else None
        self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, *args):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    state = FileServer()
    handler = type("Handler", (_Handler,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as http:
        state.address = f"http://127.0.0.1:{http.server_address[1]}/"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()
