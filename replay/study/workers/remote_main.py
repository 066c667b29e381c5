"""Entry point of a worker on another machine: `python -m … MODULE`.

Its first line of input gives the code and libraries of the machine that sent the task. With others
of its own it refuses, since its figures would have keys that are never looked up. Otherwise it runs
as the worker MODULE.
"""

import importlib
import json
import platform
import sys
from collections.abc import Mapping

from perennial.replay.study.workers.process import REFUSED, emit


def main() -> int:
    """Compare versions, then run one task; returns the exit code."""
    (worker,) = sys.argv[1:]
    expected = json.loads(sys.stdin.readline())
    from perennial.storage.results.versions import read_versions

    difference = describe_difference(expected, read_versions(), platform.node())
    if difference is not None:
        emit("refused", text=difference)
        return REFUSED
    return int(importlib.import_module(worker).main())


def describe_difference(
    expected: Mapping[str, str], own: Mapping[str, str], node: str
) -> str | None:
    """Describe in one line the versions that differ on this machine; `None` if they are equal."""
    others = [name for name in sorted({*expected, *own}) if expected.get(name) != own.get(name)]
    if not others:
        return None
    if others == ["device"]:
        return (
            f"the worker on {node} computes on {own['device']}, not on {expected['device']}; ask "
            "for GPUs with --gpus-per-cell where all workers have JAX for them, or leave it out"
        )
    there, here = (
        ", ".join(f"{name} {given.get(name, 'none')}" for name in others)
        for given in (own, expected)
    )
    return (
        f"the worker on {node} has {there}, this machine has {here}; start all machines from the "
        "same image or wheel"
    )


if __name__ == "__main__":
    sys.exit(main())
