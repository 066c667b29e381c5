"""Processes forked from one that has imported the program and started no thread."""

import atexit
import functools
import importlib
import json
import os
import select
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

TESTS = Path(__file__).resolve().parent
PATH = (TESTS.parent, TESTS, TESTS / "replay")


@dataclass(frozen=True)
class Finished:
    """Exit code of a process, or minus the signal that killed it, and its output."""

    code: int
    stdout: str
    stderr: str


class ForkServer:
    """Client of a server of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, Path(__file__)],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(map(str, PATH))}
            # A process that forks must not have threads.
            | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str, *arguments: object) -> Finished:
        """Call a function, named `module:name`, with JSON values in a process of its own."""
        self._process.stdin.write(json.dumps([function, *arguments]) + "\n")
        self._process.stdin.flush()
        return Finished(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


@functools.cache
def fork_server() -> ForkServer:
    """Return the server of this process, started by the first call."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def main() -> None:
    from benchmarks.crash.children import check_single_thread, import_program

    import_program()
    for name in ("killed_replay", "commands_under_fault"):
        importlib.import_module(name)
    for line in sys.stdin:
        check_single_thread()
        print(json.dumps(_fork(*json.loads(line))), flush=True)  # noqa: T201


def _fork(function: str, *arguments: object) -> tuple[int, str, str]:
    """Call a function in a fork; its exit code and what it wrote."""
    pipes = [os.pipe(), os.pipe()]
    pid = os.fork()
    if pid == 0:
        for descriptor, (_, writing) in enumerate(pipes, 1):
            os.dup2(writing, descriptor)
        _run(function, arguments)
    written = {reading: bytearray() for reading, _ in pipes}
    for _, writing in pipes:
        os.close(writing)
    unread = set(written)
    while unread:
        for reading in select.select(list(unread), [], [])[0]:
            part = os.read(reading, 2**16)
            written[reading] += part
            if not part:
                unread.remove(reading)
                os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, *(text.decode() for text in written.values())


def _run(function: str, arguments: tuple[object, ...]) -> NoReturn:
    code = 1
    try:
        module, name = function.split(":")
        getattr(importlib.import_module(module), name)(*arguments)
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # DuckDB's binding complains of an interpreter that ends in a fork.
        os._exit(code)


if __name__ == "__main__":
    main()
