"""A Ray cluster joined, or one of this machine alone started, with one line for what goes wrong."""

import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from storage.errors import UserError

ADDRESS_VARIABLE = "RAY_ADDRESS"
"""Names the cluster where nothing else does, as for Ray's own commands."""

_CONNECT_PATIENCE = 10.0
"""Seconds for a machine to answer; Ray itself would try for a minute or more."""

_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/\s]+?):(\d{1,5})")

OWN_WAYS = {
    # A driver that `uv run` started would have every worker installed anew from a copy of the
    # working folder, and no package index can be reached from many clusters.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # GPUs are given out by Ray; what computes on CPUs must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""What is set in the environment, where nothing else is, before Ray is imported."""


@contextmanager
def join_cluster(
    address: str | None, workers: int | None, say: Callable[[str], None]
) -> Iterator[Any]:
    """Ray, connected; what was started for it is stopped at the end.

    Args:
        address: `host:port`, `ray://host:port`, `auto`; `None` for the one in `RAY_ADDRESS`, or
            where there is none for a Ray of this machine alone.
        workers: that a Ray of this machine alone has room for; `None` for one per core.
        say: told what takes long.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE)
    given: dict[str, Any] = {"address": address}
    if address is None:
        say("starting Ray on this machine")
        given = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        say(f"joining the Ray cluster at {address}")
        _check_answers(address)
    ray = _import_ray()
    try:
        with warnings.catch_warnings():
            # JAX warns of it: Ray's own processes are forked, and replaced by others at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            ray.init(**given, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises plain ones too.
        if address is None:
            raise UserError(f"Ray cannot be started here: {_first_line(error)}") from error
        raise UserError(
            f"no Ray at {address}: {_first_line(error)}; a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too"
        ) from error
    try:
        # Ray prints news of machines that are lost to stdout, where results are to stand alone.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def count_places(nodes: Sequence[Mapping[str, Any]], gpus: float) -> list[int]:
    """How many workers each machine has room for, those with any.

    Args:
        nodes: what `ray.nodes` gives.
        gpus: that a worker needs, beside one core.
    """
    found = []
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        places = int(resources.get("CPU", 0))
        if gpus:
            places = min(places, int(resources.get("GPU", 0) / gpus))
        found.append(places)
    return [places for places in found if places]


def _import_ray() -> Any:
    for name, value in OWN_WAYS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray, which is not installed: pip install 'perennial[ray]'"
        ) from error
    return ray


def _check_answers(address: str) -> None:
    """Find out quickly whether anything is there.

    Raises:
        UserError: it is not, or that is no address.
    """
    if address in ("auto", "local"):
        return
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        raise UserError(
            f"'{address}' is no address of a Ray cluster; give host:6379, ray://host:10001 or auto"
        )
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), _CONNECT_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray at {address}: {getattr(error, 'strerror', None) or error}; `ray status` on "
            "the head shows whether it runs"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
