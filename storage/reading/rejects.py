"""Rejected lines of files, and the reasons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError

LONGEST_ID = 1 << 16
"""Bytes of an identifier; real ones are far shorter, and many of 1 MB would fill the memory."""

MISSING_WORDS = ("", "\\n", "null", "na", "n/a", "nan", "nat", "none")
"""Texts of missing ratings and times, in lower case."""


def is_missing(text: str) -> bool:
    """Return True if a text is one of `MISSING_WORDS`."""
    return text.strip().lower() in MISSING_WORDS


class Fault(IntEnum):
    """Fault of a line, the first of several; its reason is for the rejects table and the screen."""

    reason: str

    NONE = 0, ""
    WRONG_COLUMNS = 1, "wrong number of columns"
    BAD_QUOTES = 2, "misplaced or unclosed quote"
    BAD_UTF8 = 3, "invalid UTF-8"
    NO_USER = 4, "null or empty user"
    NAN_USER = 5, "user is NaN"
    FRACTION_USER = 6, "user is not a whole number"
    NO_ITEM = 7, "null or empty item"
    NAN_ITEM = 8, "item is NaN"
    FRACTION_ITEM = 9, "item is not a whole number"
    NO_TIME = 10, "null or empty time"
    NAN_TIME = 11, "time is NaN"
    BAD_TIME = 12, "unparsable time"
    TIME_RANGE = 13, "time out of range"
    BAD_RETURN = 14, "carriage return inside the line"
    LONG_USER = 15, f"user is longer than {LONGEST_ID} bytes"
    LONG_ITEM = 16, f"item is longer than {LONGEST_ID} bytes"
    BAD_RATING = 17, "rating is not a number"
    BAD_JSON = 18, "not a JSON object"
    UNFIT_VALUE = 19, "a list or an object in place of a value"
    INEXACT = 20, "identifier is a float beyond its exact range"

    def __new__(cls, value: int, reason: str) -> Self:
        """Make a member from its number and its words."""
        fault = int.__new__(cls, value)
        fault._value_ = value
        fault.reason = reason
        return fault


@dataclass(frozen=True)
class Rejects:
    """Rejected lines of a file, `(n,)` int64 from 1 (rows of Parquet), and `(n,)` their `Fault`."""

    lines: NDArray[np.int64]
    faults: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.lines)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate several, sorted by line."""
        lines = np.concatenate([np.zeros(0, np.int64), *(part.lines for part in parts)])
        faults = np.concatenate([np.zeros(0, np.uint8), *(part.faults for part in parts)])
        order = np.argsort(lines, kind="stable")
        return cls(lines[order], faults[order])

    def reasons(self) -> list[str]:
        """Return the reason of each line."""
        words = np.array([fault.reason for fault in Fault], dtype=object)
        return list(words[self.faults])

    def counts(self) -> dict[str, int]:
        """Count lines per reason; reasons without lines are left out."""
        totals = np.bincount(self.faults, minlength=len(Fault))
        return {fault.reason: int(totals[fault]) for fault in Fault if totals[fault]}


def total_counts(parts: Sequence[Rejects]) -> dict[str, int]:
    """Count lines per reason over several files."""
    totals: Counter[str] = Counter()
    for part in parts:
        totals.update(part.counts())
    return dict(totals)


def check_share(rejects: Rejects, num_lines: int, max_share: float, advice: str = "") -> None:
    """Refuse a file with too large a share of bad lines by a `UserError` that ends in advice."""
    if len(rejects) <= max_share * num_lines:
        return
    counts = ", ".join(f"{count} × {reason}" for reason, count in rejects.counts().items())
    if (rejects.faults == Fault.BAD_UTF8).any():
        words = "; if it is in another encoding than UTF-8, name it, such as --encoding latin-1"
        advice = words + advice
    raise UserError(
        f"{len(rejects)} of {num_lines} lines are bad ({counts}; the first is line "
        f"{rejects.lines[0]}), more than the share of {max_share:g} that may be: mend the file "
        f"or allow more; nothing was changed{advice}"
    )
