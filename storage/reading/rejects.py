"""Rejected lines of files, and the reasons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

LONGEST_ID = 1 << 16
"""Bytes of an identifier; real ones are far shorter, and many of 1 MB would fill the memory."""


class Fault(IntEnum):
    """Fault of a line; the first one, if there are several."""

    NONE = 0
    WRONG_COLUMNS = 1
    BAD_QUOTES = 2
    BAD_UTF8 = 3
    NO_USER = 4
    NAN_USER = 5
    FRACTION_USER = 6
    NO_ITEM = 7
    NAN_ITEM = 8
    FRACTION_ITEM = 9
    NO_TIME = 10
    NAN_TIME = 11
    BAD_TIME = 12
    TIME_RANGE = 13
    BAD_RETURN = 14
    LONG_USER = 15
    LONG_ITEM = 16

    @property
    def reason(self) -> str:
        """Words in the rejects table and on the screen."""
        return _REASONS[self]


_REASONS = {
    Fault.NONE: "",
    Fault.WRONG_COLUMNS: "wrong number of columns",
    Fault.BAD_QUOTES: "misplaced or unclosed quote",
    Fault.BAD_UTF8: "invalid UTF-8",
    Fault.NO_USER: "null or empty user",
    Fault.NAN_USER: "user is NaN",
    Fault.FRACTION_USER: "user is not a whole number",
    Fault.NO_ITEM: "null or empty item",
    Fault.NAN_ITEM: "item is NaN",
    Fault.FRACTION_ITEM: "item is not a whole number",
    Fault.NO_TIME: "null or empty time",
    Fault.NAN_TIME: "time is NaN",
    Fault.BAD_TIME: "unparsable time",
    Fault.TIME_RANGE: "time out of range",
    Fault.BAD_RETURN: "carriage return inside the line",
    Fault.LONG_USER: f"user is longer than {LONGEST_ID} bytes",
    Fault.LONG_ITEM: f"item is longer than {LONGEST_ID} bytes",
}


@dataclass(frozen=True)
class Rejects:
    """Rejected lines of one file.

    Attributes:
        lines: `(n,)` int64, from 1; for Parquet row numbers.
        faults: `(n,)` uint8, values of `Fault`.
    """

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
