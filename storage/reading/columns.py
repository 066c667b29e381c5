"""Columns of a file, found by their names."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.reading.settings import IngestSettings

Column: TypeAlias = pa.ChunkedArray | NDArray[np.int32] | NDArray[np.int64]
"""Values of a column, `(n,)`. Integers without nulls that fit are an array, int32 for identifiers
and int64 for times; the next step may overwrite it."""

# In order of preference; compared in lower case without "_", "-" and spaces.
USER_NAMES = (
    "userid", "user", "uid", "userindex", "reviewerid", "customerid", "customer", "householdid",
    "householdkey", "household", "visitorid", "memberid", "buyerid", "clientid", "accountid",
    "profileid", "username", "sessionid", "session", "playlistid",
)  # fmt: skip
ITEM_NAMES = (
    "itemid", "item", "iid", "itemindex", "movieid", "movie", "productid", "product", "parentasin",
    "asin", "isbn", "bookid", "trackid", "songid", "artistid", "articleid", "newsid", "videoid",
    "gameid", "businessid", "venueid", "recipeid", "gmapid", "sku", "appid", "goodsid", "aid",
    "musicid",
)  # fmt: skip
TIME_NAMES = (
    "timestamp", "ts", "time", "transactiontimestamp", "datetime", "unixtime", "unixreviewtime",
    "timestampms", "eventtime", "eventtimestamp", "createdat", "eventdate", "date", "reviewtime",
    "reviewdate", "tdat", "orderdate", "ordertime", "orderedat", "purchasedate", "purchasetime",
    "purchasedat", "invoicedate", "transactiondate", "transactiontime", "utctimestamp", "utctime",
    "visittime", "checkintime", "clicktime", "viewedat", "updatedat", "createdtime", "creationtime",
    "createdate", "createddate", "eventat", "ratedat", "datetimeutc",
)  # fmt: skip
RATING_NAMES = (
    "rating", "ratings", "score", "stars", "overall", "review/score", "reviewscore",
    "review/overall", "reviewoverall", "starrating", "userrating", "bookrating", "movierating",
    "ratingvalue", "reviewrating", "overallrating", "ratingscore", "userscore", "rate",
)  # fmt: skip


class MissingColumnError(UserError):
    """A column is not in the file.

    Attributes:
        column: the name that was given; `None` for a user or an item that cannot be guessed.
    """

    def __init__(self, column: str | None, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class Columns:
    """Positions of the columns in a file, from 0.

    Attributes:
        time: `None` if the file has none.
        rating: of the ratings, if a row needs a least rating to count.
        where: of the columns of `IngestSettings.where`, in that order.
        ignored: of a column that looks like ratings and decides nothing.
    """

    user: int
    item: int
    time: int | None
    rating: int | None = None
    where: tuple[int, ...] = ()
    ignored: int | None = None

    @property
    def events(self) -> tuple[int, ...]:
        """Positions of user, item and, if there is one, time."""
        return (self.user, self.item) if self.time is None else (self.user, self.item, self.time)

    @property
    def places(self) -> tuple[int, ...]:
        """Positions of all columns to read, each once, `events` first."""
        rating = () if self.rating is None else (self.rating,)
        return tuple(dict.fromkeys((*self.events, *rating, *self.where)))

    def split(
        self, columns: Sequence[Column]
    ) -> tuple[Column, Column, Column | None, Column | None, tuple[Column, ...]]:
        """Return users, items, times, ratings and those of `where`, given `(n,)` of `places`."""
        at = dict(zip(self.places, columns, strict=True))
        return (
            at[self.user],
            at[self.item],
            None if self.time is None else at[self.time],
            None if self.rating is None else at[self.rating],
            tuple(at[place] for place in self.where),
        )


def find_columns(
    names: Sequence[str], settings: IngestSettings, empty: Sequence[int] = ()
) -> Columns:
    """Find all columns that are needed among the names of a file; `empty` ones come last."""
    rating = find_column(names, None, RATING_NAMES, "rating")
    return add_conditions(find_event_columns(names, settings, empty), names, settings, rating)


def add_conditions(
    columns: Columns, names: Sequence[str], settings: IngestSettings, rating: int | None
) -> Columns:
    """Add the columns that decide which rows count.

    Args:
        columns: of user, item and time.
        names: names of all columns; positions from 1 in a file without names.
        settings: the conditions.
        rating: position of a column that looks like ratings, if there is one.

    Raises:
        UserError: a named column is missing or there twice, or no column looks like ratings.
    """
    find = partial(find_column, header=settings.header)
    where = [find(names, name, (), "--where") for name, _ in settings.where or ()]
    columns = dataclasses.replace(columns, where=tuple(one for one in where if one is not None))
    if settings.min_rating is None:
        ignored = None if rating in columns.places else rating
        columns = dataclasses.replace(columns, ignored=ignored)
    else:
        if settings.rating_column is not None:
            rating = find(names, settings.rating_column, (), "rating")
        if rating is None:
            raise UserError(
                f"no rating column among {list_names(names)}: name it with --rating-column, or "
                "give its position, 1 for the first"
            )
        columns = dataclasses.replace(columns, rating=rating)
    _check_single(names, columns.places)
    return columns


def find_event_columns(
    names: Sequence[str], settings: IngestSettings, empty: Sequence[int] = ()
) -> Columns:
    """Find the columns of interactions among the names of a file.

    Args:
        names: names of all columns; positions from 1 in a file without names.
        settings: names or positions that the user gave.
        empty: positions of columns without values, which are guessed last.

    Raises:
        UserError: a given name is missing, a needed one cannot be guessed, or two are the same.
    """
    find = partial(find_column, header=settings.header)
    user = find(names, settings.user_column, USER_NAMES, "user", empty)
    item = find(names, settings.item_column, ITEM_NAMES, "item", empty)
    time = find(names, settings.time_column, TIME_NAMES, "time", empty)
    for place, what in ((user, "user"), (item, "item")):
        if place is None:
            raise MissingColumnError(
                None,
                f"no {what} column among {list_names(names)}: name it with --{what}-column, or "
                "give its position, 1 for the first",
            )
    _check_single(names, [place for place in (user, item, time) if place is not None])
    if user is None or item is None or user == item or time in (user, item):
        raise UserError("user, item and time must be different columns; name others")
    return Columns(user, item, time)


def _check_single(names: Sequence[str], places: Sequence[int]) -> None:
    for name in {names[place] for place in places}:
        if list(names).count(name) > 1:
            raise UserError(
                f"several columns are called '{printable(name, 40)}': rename all but one of them"
            )


def find_column(
    names: Sequence[str],
    wanted: str | None,
    known: Sequence[str],
    what: str,
    empty: Sequence[int] = (),
    *,
    header: bool | None = None,
) -> int | None:
    """Find one column among the names of a file.

    Args:
        names: names of all columns.
        wanted: the name that the user gave, if any, or a position, 1 for the first.
        known: usual names, the preferred one first.
        what: content of the column, for the error message.
        empty: positions of columns without values, which are guessed last.
        header: True if the user gave that the names are names, so that they go over positions.

    Returns:
        The position of the column; `None` if it cannot be guessed.

    Raises:
        UserError: the given name is missing, or is the position of another column.
    """
    if wanted is not None:
        named = list(names).index(wanted) if wanted in names else None
        is_position = wanted.isdecimal() and 1 <= int(wanted) <= len(names)
        place = int(wanted) - 1 if is_position and not (header and named is not None) else named
        if named is not None and place is not None and named != place:
            raise UserError(
                f"'{wanted}' for the {what} is the position of column "
                f"'{printable(names[place], 40)}' and the name of another; give that name or the "
                "position of the other"
            )
        if place is not None:
            return place
        raise MissingColumnError(
            wanted, f"no column '{printable(wanted, 40)}' for the {what} among {list_names(names)}"
        )
    plain = [_plain(name) for name in names]
    places = [plain.index(name) for name in known if name in plain]
    return next((place for place in places if place not in empty), next(iter(places), None))


def list_names(names: Sequence[str]) -> str:
    """Return the first column names for an error message."""
    shown = ", ".join(printable(name, 40) for name in names[:20]) or "none"
    return f"{shown}, ..." if len(names) > 20 else shown


def printable(text: str, limit: int) -> str:
    """Return the beginning of a text from a file, safe for one line on a screen."""
    signs = (sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:limit])
    return "".join(signs)[:limit]


def looks_like_header(names: Sequence[str]) -> bool:
    """Return True if the first line of a text file names a user column and an item column."""
    plain = {_plain(name) for name in names}
    return not plain.isdisjoint(USER_NAMES) and not plain.isdisjoint(ITEM_NAMES)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
