"""The progress callback of long work; the command line decides how to show it."""

from typing import Protocol


class Progress(Protocol):
    """Callback of work that may take longer than two seconds."""

    def __call__(self, message: str, done: int = 0, total: int | None = None, /) -> None:
        """Report progress.

        Args:
            message: what is being done, in a few words; it replaces the message before.
            done: amount of work done so far, in any unit.
            total: amount of work in all, in the same unit; `None` if it is not known or not
                counted.
        """
        ...


def ignore_progress(_message: str, _done: int = 0, _total: int | None = None, /) -> None:
    """Drop a progress message."""
