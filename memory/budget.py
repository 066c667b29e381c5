"""Budget of a memory in rows or bytes, shared among the periods by a policy (design note 5)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perennial.storage.base import parse_size, sparse_bytes
from perennial.storage.errors import UserError

_Part = TypeVar("_Part")
_RECENT = re.compile(r"recent:([1-9]\d*)")


@dataclass(frozen=True)
class Policy:
    """Policy by which the budget B is shared.

    Attributes:
        name: `all`, every past period has a share; `recent`, the last `periods` have; `rolling`,
            the memory before and the new period alone make the next, of B rows at most; `whole`,
            the log so far is distilled into B rows, anew after each period.
        periods: of `recent`.
    """

    name: str
    periods: int = 0

    def newest(self, parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
        """Return the parts that are kept, of parts of successive periods, oldest first."""
        return parts[-{"all": 0, "recent": self.periods}.get(self.name, 1) :]

    @property
    def reach(self) -> int | None:
        """Number of last periods that the buffer follows from, `None` for all.

        Under `whole` the last summary stands for all periods, and is made from the log alone.
        """
        return {"recent": self.periods, "whole": 1}.get(self.name)

    def first_period(self, last: int) -> int:
        """Return the first of the periods up to `last` that the buffer stands for."""
        return max(1, last - self.periods + 1) if self.name == "recent" else 1


_ALL = Policy("all")


def parse_policy(text: str) -> Policy:
    """Parse `all`, `recent:K`, `rolling` or `whole`; raise `UserError` for any other text."""
    recent = _RECENT.fullmatch(text)
    if recent is not None:
        return Policy("recent", int(recent[1]))
    if text in ("all", "rolling", "whole"):
        return Policy(text)
    raise UserError(
        f"'{text}' is no memory policy; choose all, recent:K (such as recent:1), rolling or whole"
    )


@dataclass(frozen=True)
class ReplayBudget:
    """The most that a memory replays.

    Attributes:
        amount: number of rows, or of bytes.
        in_bytes: True for bytes, as `sparse_bytes` counts them.
    """

    amount: int
    in_bytes: bool = False

    def rows_of(self, num_items: int | None) -> int:
        """Return the number of rows that it holds if none has more than `num_items`.

        Raises:
            ValueError: it holds no such row, or there is no bound (`None`).
        """
        if not self.in_bytes:
            return self.amount
        if num_items is None:
            raise ValueError(
                "budget in bytes needs distillation.max_items, the most items of a row"
            )
        each = sparse_bytes(1, num_items)
        if self.amount < each:
            raise ValueError(
                f"budget of {self.amount:,} bytes is too small for a row, which takes {each:,}"
            )
        return self.amount // each

    def rows_of_mean(self, num_rows: int, num_entries: int) -> int:
        """Return the number of rows that it holds if they are on average as long as some rows."""
        size = sparse_bytes(num_rows, num_entries)
        return self.amount * num_rows // size if self.in_bytes and size else self.amount

    def share(self, entries: Sequence[NDArray[np.int64]], policy: Policy = _ALL) -> tuple[int, ...]:
        """Compute the number of rows that are replayed of each part, as `share_budget` does.

        Bytes that are left because the next row is larger go to the next newer part.

        Args:
            entries: `(n,)` for each part, the oldest first: entries of its first 1, 2, … n rows.
            policy: by which the budget is shared.
        """
        ends = [self._measure(one) for one in entries]
        sizes = [int(one[-1]) if len(one) else 0 for one in ends]
        counts, left = [], 0
        for one, share in zip(ends, share_budget(self.amount, sizes, policy), strict=True):
            left += share
            counts.append(int(np.searchsorted(one, left, side="right")))
            left -= int(one[counts[-1] - 1]) if counts[-1] else 0
        return tuple(counts)

    def _measure(self, entries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the amount that the first 1, 2, … rows take, `(n,)`."""
        rows = np.arange(1, len(entries) + 1)
        if not self.in_bytes:
            return rows
        return sparse_bytes(1, 0) * rows + sparse_bytes(0, 1) * entries


def parse_budget(given: int | str) -> ReplayBudget:
    """Parse a number of rows, such as 500, or a size such as `256KiB`; `ValueError` otherwise."""
    text = str(given).strip()
    if text.isdecimal():
        budget = ReplayBudget(int(text))
    else:
        budget = ReplayBudget(parse_size(text) or 0, in_bytes=True)
    if not 1 <= budget.amount < 2**63:
        raise ValueError(
            f"budget must be rows such as 500, or bytes such as 256KiB, and not '{given}'"
        )
    budget.rows_of(1)
    return budget


def share_budget(budget: int, sizes: Sequence[int], policy: Policy) -> tuple[int, ...]:
    """Compute the number of rows that are replayed of each summary: a prefix, the most useful.

    Each of the n periods kept by the policy has ⌊B/n⌋ rows, and the newest the remainder. Rows that
    a summary lacks are taken from the newest ones that have more.

    Sizes are numbers of rows, of the oldest summary first.

    Returns:
        A number for each summary, at most its size; their sum is min(B, sum of kept sizes).
    """
    chosen = len(policy.newest(tuple(sizes)))
    first = len(sizes) - chosen
    shares = [0] * len(sizes)
    for place in range(first, len(sizes)):
        share = budget // chosen + (budget % chosen if place == len(sizes) - 1 else 0)
        shares[place] = min(share, sizes[place])
    left = budget - sum(shares)
    for place in reversed(range(first, len(sizes))):
        more = min(left, sizes[place] - shares[place])
        shares[place] += more
        left -= more
    return tuple(shares)
