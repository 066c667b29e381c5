"""Budget of replayed rows, shared among the periods by a policy (design note 5)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

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


def parse_policy(text: str) -> Policy:
    """Parse `all`, `recent:K`, `rolling` or `whole`.

    Raises:
        UserError: the text is something else.
    """
    recent = _RECENT.fullmatch(text)
    if recent is not None:
        return Policy("recent", int(recent[1]))
    if text in ("all", "rolling", "whole"):
        return Policy(text)
    raise UserError(
        f"'{text}' is no memory policy; choose all, recent:K (such as recent:1), rolling or whole"
    )


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
