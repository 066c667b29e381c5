"""Connection to a Ray cluster."""

import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from perennial.storage.errors import UserError

RAY_VARIABLES = {
    # A driver that `uv run` started would have every worker installed anew from a copy of the
    # working folder, and no package index can be reached from many clusters.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray assigns the GPUs; a worker that computes on CPUs must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""Environment variables that are set, unless they are already, before Ray is imported."""

_CONNECT_SECONDS = 10.0
"""Time for a machine to answer; Ray itself would try for a minute or more."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/\s]+?):(\d{1,5})")


@contextmanager
def join_cluster(
    address: str | None, workers: int | None, progress: Callable[[str], None]
) -> Iterator[Any]:
    """Connect Ray, and at the end disconnect it and stop what was started here.

    An address is `host:port`, `ray://host:port` or `auto`; `None` is the one in `RAY_ADDRESS`, or
    without that a Ray of this machine alone with so many workers, one per core by default.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"address": address}
    if address is None:
        progress("starting Ray on this machine")
        options = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        progress(f"joining the Ray cluster at {address}")
        _check_reachable(address)
    ray = _import_ray()
    try:
        with warnings.catch_warnings():
            # JAX warns of it: Ray's own processes are forked, and replaced by others at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises plain ones too.
        if address is None:
            raise UserError(f"Ray cannot be started here: {_first_line(error)}") from error
        raise UserError(
            f"no Ray at {address}: {_first_line(error)}; a cluster that requires a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"
        ) from error
    try:
        # Ray prints messages about lost machines to stdout, which is for results alone.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def count_slots(nodes: Sequence[Mapping[str, Any]], gpus: float) -> list[int]:
    """Count the workers, of one core and `gpus`, that machines of `ray.nodes` with room can run."""
    slots = []
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        count = int(resources.get("CPU", 0))
        if gpus:
            count = min(count, int(resources.get("GPU", 0) / gpus))
        slots.append(count)
    return [count for count in slots if count]


def _import_ray() -> Any:
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray, which is not installed: pip install 'perennial[ray]'"
        ) from error
    return ray


def _check_reachable(address: str) -> None:
    """Raise a `UserError` quickly if nothing answers at an address, or it is malformed."""
    if address in ("auto", "local"):
        return
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        raise UserError(
            f"'{address}' is no address of a Ray cluster; give host:6379, ray://host:10001 or auto"
        )
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray at {address}: {getattr(error, 'strerror', None) or error}; `ray status` on "
            "the head shows whether it runs"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
