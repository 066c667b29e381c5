"""The image: its health check and the files that it is built from."""

import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_check_fails_without_a_model(status, code):
    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format, *arguments):
            pass

    (check,) = re.findall(r"(?m)^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE)
    _, *arguments = json.loads(check)
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.handle_request).start()
        arguments[-1] = arguments[-1].replace("8080", str(server.server_port))
        done = subprocess.run([sys.executable, *arguments], check=False)  # noqa: S603
    assert done.returncode == code


def test_build_context_holds_what_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    made_of = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    needed = {"pyproject.toml", "requirements.txt", "README.md", "LICENSE", "cli.py"}
    needed |= {path.split("/")[0] for path in made_of}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == needed
