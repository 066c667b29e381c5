"""Finding the user, item and time columns of a file by their names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.errors import UserError

Column = pa.ChunkedArray | NDArray[np.int32] | NDArray[np.int64]
"""The values of a column. Integers that are known to lack nulls and to fit come as an array, int32
for identifiers and int64 for times; its memory belongs to whoever reads them next."""

# In order of preference; compared in lower case without "_", "-" and spaces.
USER_NAMES = (
    "userid", "user", "uid", "userindex", "reviewerid", "customerid", "customer", "householdid",
    "householdkey", "household", "visitorid", "memberid", "sessionid", "session", "playlistid",
)  # fmt: skip
ITEM_NAMES = (
    "itemid", "item", "iid", "itemindex", "movieid", "movie", "productid", "product", "parentasin",
    "asin", "isbn", "bookid", "trackid", "songid", "artistid", "articleid", "newsid", "videoid",
    "gameid", "businessid", "recipeid", "gmapid", "sku",
)  # fmt: skip
TIME_NAMES = (
    "timestamp", "ts", "time", "transactiontimestamp", "datetime", "unixtime", "unixreviewtime",
    "timestampms", "eventtime", "eventtimestamp", "createdat", "eventdate", "date", "reviewtime",
)  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Places of the columns in a file, from 0; `time` is None where the file has no times."""

    user: int
    item: int
    time: int | None

    @property
    def places(self) -> tuple[int, ...]:
        """User, item and, where there is one, time."""
        return (self.user, self.item) if self.time is None else (self.user, self.item, self.time)


@dataclass(frozen=True)
class ColumnChoice:
    """Names that the user gave; None means to guess."""

    user: str | None = None
    item: str | None = None
    time: str | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names that were given."""
        return tuple(name for name in (self.user, self.item, self.time) if name is not None)


def find_columns(names: Sequence[str], choice: ColumnChoice) -> Columns:
    """Find the columns among the names of a file.

    Raises:
        UserError: a given name is not there, a needed one cannot be guessed, or two are the same.
    """
    user = _find(names, choice.user, USER_NAMES, "user")
    item = _find(names, choice.item, ITEM_NAMES, "item")
    time = _find(names, choice.time, TIME_NAMES, "time")
    for place, what in ((user, "user"), (item, "item")):
        if place is None:
            raise UserError(
                f"no {what} column among {_listed(names)}: name it (in a file without a header by "
                "its place, 1 for the first)"
            )
    for name in {names[place] for place in (user, item, time) if place is not None}:
        if list(names).count(name) > 1:
            raise UserError(
                f"several columns are called '{printable(name, 40)}': rename all but one of them"
            )
    if user is None or item is None or user == item or time in (user, item):
        raise UserError("user, item and time must be different columns; name others")
    return Columns(user, item, time)


def printable(text: str, limit: int) -> str:
    """The beginning of a text from a file, fit for one line on a screen."""
    signs = (sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:limit])
    return "".join(signs)[:limit]


def looks_like_header(names: Sequence[str]) -> bool:
    """Whether the first line of a text file names a user column and an item column."""
    plain = {_plain(name) for name in names}
    return not plain.isdisjoint(USER_NAMES) and not plain.isdisjoint(ITEM_NAMES)


def _find(names: Sequence[str], wanted: str | None, known: Sequence[str], what: str) -> int | None:
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"no column {wanted!r} for the {what} among {_listed(names)}")
        return list(names).index(wanted)
    plain = [_plain(name) for name in names]
    return next((plain.index(name) for name in known if name in plain), None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 40) for name in names[:20])
    return f"{shown}, ..." if len(names) > 20 else shown
