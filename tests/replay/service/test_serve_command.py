"""`perennial serve` as a process: it starts, answers, takes a new model, and ends when told."""

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from calls import TOKEN
from click.testing import CliRunner
from patience import PATIENCE, wait_until
from published_store import make_live, publish_period

from perennial import cli
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StoreFile, Watcher
from perennial.replay.service.security import read_token
from perennial.replay.service.server import ServerAddress, bind
from perennial.storage.errors import UserError
from perennial.storage.store import Store

PROGRAM = str(Path(cli.__file__).resolve())


@pytest.fixture
def path(published_file, tmp_path):
    """A store of one's own with two published periods."""
    shutil.copy(published_file, tmp_path / "live.duckdb")
    shutil.copytree(f"{published_file}.models", tmp_path / "live.duckdb.models")
    return tmp_path / "live.duckdb"


class Served:
    """A running service."""

    def __init__(self, path, *options, token=None):
        settings = {"PERENNIAL_TOKEN": token} if token else {}
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, PROGRAM, "serve", "--store", path, "--port", "0", *options],
            env=os.environ | settings,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines, self.said = queue.Queue(), []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.address = self.wait_for(r"serving .* at (http://\S+/);")[1]

    def _read(self):
        for line in self.process.stderr:
            self._lines.put(line)

    def wait_for(self, pattern):
        """The first line that matches."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            self.said.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def end(self, number=signal.SIGTERM):
        """End it; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return code


@contextlib.contextmanager
def serving(path, *options, **given):
    served = Served(path, *options, **given)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
        served._reader.join(PATIENCE)
        served.process.stdout.close()
        served.process.stderr.close()


@pytest.mark.slow
def test_it_answers_and_changes_to_a_new_model_without_a_failed_request(path):
    statuses, periods, done = [], [], threading.Event()
    with (
        serving(path, "--check-every", "0.1") as served,
        httpx.Client(base_url=served.address) as client,
    ):

        def ask():
            with httpx.Client(base_url=served.address) as own:
                while not done.is_set():
                    answer = own.post("/recommend", json={"items": ["i8"], "k": 3})
                    statuses.append(answer.status_code)
                    periods.append(answer.json().get("period"))

        assert client.get("/health").json()["period"] == 2
        assert client.get("/status").json()["published_period"] == 2
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            key = publish_period(path, 3)
            wait_until(lambda: client.get("/health").json()["period"] == 3)
            wait_until(lambda: periods[-1] == 3)
        finally:
            done.set()
            asking.join()
        assert client.get("/health").json()["fit_key"] == key[:12]
        wait_until(lambda: client.get("/status").json()["published_period"] == 3)
        assert "perennial_swaps_total 2.0" in client.get("/metrics").text
        assert set(statuses) == {200}
        assert periods == sorted(periods)
        assert served.end() == 0
    text = "".join(served.said)
    assert re.search(r"POST /recommend 200 \d", text)
    assert "i8" not in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_it_waits_for_the_first_model(tmp_path):
    path = make_live(tmp_path / "live.duckdb")
    with (
        serving(path, "--check-every", "0.1", "--no-access-log") as served,
        httpx.Client(base_url=served.address) as client,
    ):
        assert client.get("/health").status_code == 503
        assert client.get("/status").json()["published_period"] is None
        publish_period(path, 1)
        wait_until(lambda: client.get("/health").status_code == 200)
        assert served.end(signal.SIGINT) == 130
    assert "nothing is published yet" in "".join(served.said)
    assert "GET" not in "".join(served.said)


@pytest.mark.slow
def test_limits_and_token_arrive(path):
    options = ("--max-body", "200B", "--max-header", "2KiB", "--allowed-host", "shop.example")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(path, *options, token=TOKEN) as served,
        httpx.Client(base_url=served.address, headers=bearer) as client,
    ):
        asked = {"items": ["i8"] * 100}
        assert client.post("/recommend", json=asked).status_code == 413
        assert client.post("/recommend", json={"items": ["i8"]}).status_code == 200
        assert client.get("/status", headers={"Authorization": ""}).status_code == 401
        assert client.get("/status", headers={"Host": "evil.example"}).status_code == 400
        assert client.get("/status", headers={"Host": "shop.example"}).status_code == 200
        assert client.get("/health", headers={"X-Long": "x" * 3000}).status_code == 431
        # What comes in several pieces the server refuses by itself, maybe before it has it all.
        with contextlib.suppress(httpx.TransportError):
            status = client.get("/health", headers={"X-Long": "x" * 1_000_000}).status_code
            assert status in (400, 431)
        assert client.get("/health").status_code == 200
        assert served.end() == 0


def refused(*options, **environment):
    result = CliRunner(env={"PERENNIAL_TOKEN": None} | environment).invoke(
        cli.main, ["serve", *map(str, options)]
    )
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line


class TestRefusingToStart:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--host", "0.0.0.0"), "a token is needed"),  # noqa: S104
            (("--host", "::"), "a token is needed"),
            (("--host", "192.0.2.1"), "a token is needed"),
            (("--token-file", "none"), "cannot be read (No such file or directory)"),
            (("--store", "none.duckdb"), "no such store"),
        ],
    )
    def test_options(self, path, options, words):
        assert words in refused("--store", path, *options)

    def test_on_what_is_no_store(self, tmp_path, monkeypatch):
        monkeypatch.setattr("perennial.replay.service.server._ATTEMPTS", 1)
        (tmp_path / "x.duckdb").write_text("no store")
        assert "not a DuckDB file" in refused("--store", tmp_path / "x.duckdb", "--port", 0)

    def test_on_a_port_in_use(self, path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = refused("--store", path, "--port", port)
        assert f"127.0.0.1:{port}: address already in use; choose another" in line

    def test_on_an_address_of_another_machine(self, path):
        line = refused("--store", path, "--host", "192.0.2.1", PERENNIAL_TOKEN=TOKEN)
        assert line.startswith("error: 192.0.2.1:8080: ")

    @pytest.mark.parametrize("token", ["short", "two words of a token", "x" * 20 + "é"])
    def test_with_a_token_that_is_none(self, path, tmp_path, token):
        words, file = "a token is one word", tmp_path / "token"
        assert f"PERENNIAL_TOKEN: {words}" in refused("--store", path, PERENNIAL_TOKEN=token)
        file.write_text(token, encoding="utf-8")
        assert f"{file}: {words}" in refused("--store", path, "--token-file", file)


def test_the_files_token_goes_before_the_environments(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_TOKEN", "e" * 20)
    assert read_token(None) == "e" * 20
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN
    monkeypatch.delenv("PERENNIAL_TOKEN")
    assert read_token(None) is None


def test_names_that_are_served():
    own = ("localhost", "127.0.0.1", "[::1]")
    assert ServerAddress("127.0.0.1", 80).hosts()[:3] == own
    assert ServerAddress("0.0.0.0", 80, "t").hosts() is None  # noqa: S104
    assert "a.example" in ServerAddress("0.0.0.0", 80, "t", ("a.example",)).hosts()  # noqa: S104


def test_ipv6_can_be_listened_on():
    try:
        bound = bind("::1", 0)
    except UserError:
        pytest.skip("this machine has no IPv6")
    with bound:
        assert bound.getsockname()[0] == "::1"


def test_nothing_of_the_store_stays_open(path):
    """A writer gets in while a service runs: the store is read in moments only."""
    assert Watcher(StoreFile(path), CurrentModel(), ServiceMetrics()).check()
    with Store.open(path):
        pass
