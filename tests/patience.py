"""Waiting that a busy machine does not fail: it ends as soon as what it waits for is there."""

import time
from collections.abc import Callable

PATIENCE = 300
"""Seconds after which a test fails."""


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
