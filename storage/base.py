"""Foundations that every layer uses: JSON values, the progress callback, derived seeds."""

import hashlib
from typing import Any, Protocol

Json = Any
"""A value that `json.dumps` takes and `json.loads` returns."""


class Progress(Protocol):
    """Callback of work that may take longer than two seconds; the command line draws it."""

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


def derive_seed(*parts: int | str) -> int:
    """Hash the purpose of random numbers into a seed.

    Seeds derived from their purpose make results independent of the order of the work.

    Args:
        parts: purpose of the random numbers, e.g. `(seed, period, strategy, model)`.

    Returns:
        An integer in [0, 2^63), equal for equal parts on every machine; `1` and `"1"` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def require(holds: bool, message: str) -> None:
    """Raise `ValueError` with a message unless a condition holds."""
    if not holds:
        raise ValueError(message)
