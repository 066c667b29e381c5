"""Commands in a process of its own: damage may end it, and limits must not bind the tests."""

import json
import os
import resource
import sys

from click.testing import CliRunner

from perennial import cli
from perennial.storage.log.ingest import ingest_period
from perennial.storage.store import Store


def call_commands(calls: list[list[str]], limit: int | None) -> None:
    """Call commands one after the other; print a JSON line before each, and one with its result."""
    if limit is not None:
        import jax

        # What is compiled would be cut short there too, and then read by other tests.
        jax.config.update("jax_compilation_cache_dir", None)
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for arguments in calls:
        print_line(arguments)
        done = CliRunner().invoke(cli.main, arguments, prog_name="perennial")
        print_line({"code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr})


def ingest_and_die(store: str, log: str) -> None:
    opened = Store.open(store)
    ingest_period(opened, log)
    os._exit(0)


def print_line(value: object) -> None:
    sys.__stdout__.write(json.dumps(value) + "\n")
    sys.__stdout__.flush()
