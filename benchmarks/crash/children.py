"""Commands in forked children: given, killed at a point, or given up after a while."""

import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.crash.points import Watch, watch_process
from perennial import cli

PATIENCE = 180.0
"""Seconds for one child, after which it counts as stuck."""

Json = Any
"""A value that `json.dumps` accepts."""


_IMPORTED_LATE = (
    "jax.numpy",
    "perennial.memory.distill_memory",
    "perennial.models.infinite_ae.recipe",
    "perennial.models.mvae.recipe",
    "perennial.replay.cli.log_options",
    "perennial.replay.cli.live",
    "perennial.replay.live.ingest",
    "perennial.replay.logs",
    "perennial.replay.strategies.ader",
    "perennial.replay.strategies.distill_cf",
)
"""Modules that commands import only when they need them."""


def import_program() -> None:
    """Import all that commands use, so that forked processes need not."""
    for name in _IMPORTED_LATE:
        pkgutil.resolve_name(name)


def check_single_thread() -> None:
    """Raise `RuntimeError` if this process has a thread, after which forking is not safe."""
    if threading.active_count() > 1:
        raise RuntimeError("a thread has been started; forking is not safe any more")


def run_command(command: tuple[str, ...], words: Path) -> tuple[int, str]:
    """Run a command in this process; return its exit code and its stderr."""
    with words.open("w") as stream:
        before, sys.stderr = sys.stderr, stream
        try:
            cli.main(list(command), prog_name="perennial")
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        finally:
            sys.stderr = before
    return code, words.read_text().strip()


def run_and_kill(
    command: tuple[str, ...], point: int, delay: float, work: Path
) -> tuple[bool, str]:
    """Give a command in a child that is killed at a point, at once or so many seconds later.

    Returns:
        Whether it was killed, and the end of its stderr.
    """
    reading, writing = os.pipe()
    store = Path(command[command.index("--store") + 1])
    pid = os.fork()
    if pid == 0:
        _leave_parent(work / "stdout")
        os.close(reading)
        watch = Watch(store, point, writing, at_once=delay == 0)
        with suppress(BaseException):
            watch_process(watch)
            run_command(command, work / "words")
            watch.wait_for_death()
        os._exit(0)
    os.close(writing)
    reached = bool(select.select([reading], [], [], PATIENCE)[0] and os.read(reading, 1))
    if reached and delay:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    status = _wait(pid)
    words = (work / "words").read_text() if (work / "words").exists() else ""
    return reached and os.WTERMSIG(status) == signal.SIGKILL, words[-600:]


def in_child(task: Callable[[], Json], answer: Path) -> Json:
    """Do something in a child of its own.

    Raises:
        RuntimeError: it fails, is killed by a signal, or never ends.
    """
    pid = os.fork()
    if pid == 0:
        _leave_parent(answer.with_name("stdout-then"))
        code = 1
        try:
            answer.write_text(json.dumps(task()))
            code = 0
        except BaseException:
            answer.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    status = _wait(pid)
    if status != 0:
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else answer.read_text()
        raise RuntimeError(f"going on fails: {how[-900:]}")
    return json.loads(answer.read_text())


def _leave_parent(stdout: Path) -> None:
    """Keep what a child prints out of the answers to jobs."""
    handle = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)


def _wait(pid: int) -> int:
    """Until a child has ended; one that never does is killed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
