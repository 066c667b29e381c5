"""How long work reports on itself; the command line decides how to show it."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with what is going on, how much is done and how much there is (`None`: not known)."""


def ignore_progress(_what: str, _done: int, _total: int | None) -> None:
    """Drop a progress message."""
