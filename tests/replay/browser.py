"""A headless Chromium, driven over a pipe by the Chrome DevTools protocol: no port, no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from patience import PATIENCE

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
# Chromium reads its commands from descriptor 3 and answers on 4; a fork of our own would not do,
# as JAX warns of it.
_LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 20) for one in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """The browser on the path, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


@dataclass
class Seen:
    """Values, picture, errors and requests of a page."""

    values: list = field(default_factory=list)
    picture: bytes = b""
    errors: list = field(default_factory=list)
    requests: list = field(default_factory=list)


class Browser:
    """One process; a context."""

    def __init__(self, program: str) -> None:
        self._program, self._number, self._rest, self._events = program, 0, b"", []

    def __enter__(self) -> "Browser":
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and a browser
            [
                *(sys.executable, "-c", _LAUNCH, str(commands), str(answers)),
                *(self._program, *_FLAGS, f"--user-data-dir={self._home.name}", "about:blank"),
            ],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        return self

    def __exit__(self, *_error) -> None:
        try:
            self._call("Browser.close")
            self._process.wait(PATIENCE)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        self._home.cleanup()

    def look(self, address, width, height, *, scale=1, dark=False, whole=False, ask=()) -> Seen:
        """Open a page in a new tab of a size, and say what happened."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def call(method, **given):
            return self._call(method, session, **given)

        for domain in ("Page", "Runtime", "Log", "Network"):
            call(f"{domain}.enable")
        call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=scale > 1,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        call("Page.navigate", url=address)
        while not any(one["method"] == "Page.loadEventFired" for one in self._events):
            self._read()
        seen = Seen()
        for expression in ask:
            found = call(
                "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
            )
            seen.values.append(found["result"].get("value"))
        taken = call("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            taken = call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        seen.picture = base64.b64decode(taken["data"])
        for one in self._events:
            self._note(seen, one["method"], one["params"], address)
        call("Page.close")
        return seen

    @property
    def num_waiting(self) -> int:
        """Number of requests of the page that have no answer yet."""
        methods = [event["method"] for event in self._events]
        ended = methods.count("Network.loadingFinished") + methods.count("Network.loadingFailed")
        return methods.count("Network.requestWillBeSent") - ended

    @staticmethod
    def _note(seen, method, params, address) -> None:
        if method == "Runtime.exceptionThrown":
            seen.errors.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            seen.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            seen.errors.append(str(params["args"]))
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url != address and not url.startswith("data:"):
                seen.requests.append(url)

    def _call(self, method, session=None, **given):
        self._number += 1
        said = {"id": self._number, "method": method, "params": given}
        if session is not None:
            said["sessionId"] = session
        data = json.dumps(said).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self):
        """The next message; events are kept."""
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], PATIENCE)[0]:
                raise RuntimeError("the browser says nothing")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise RuntimeError(f"the browser ended with {self._process.wait()}")
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        said = json.loads(line)
        if "method" in said:
            self._events.append(said)
        return said
