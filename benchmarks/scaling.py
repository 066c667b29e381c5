"""Tools of benchmarks of growing sizes: a child process with its own peak, and a power law."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def run_child(module: str, *words: object, environment: Mapping[str, str] | None = None) -> Any:
    """Run a benchmark in a fresh process, and read the JSON that it prints as its last line.

    Args:
        module: of this package, without its name.
        words: its command line.
        environment: of the process; this one's if `None`.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]
    done = subprocess.run(  # noqa: S603  # our own interpreter and words
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def power_law(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The power p and the factor a of a · size^p, by least squares on logarithms."""
    power, factor = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(factor))
