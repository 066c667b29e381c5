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
from perennial.storage.reading.settings import LOG_ROLES, RATING_NAMES, FileSettings, Role

Column: TypeAlias = pa.ChunkedArray | NDArray[np.int32] | NDArray[np.int64]
"""Values of a column, `(n,)`. Integers without nulls that fit are an array, int32 for identifiers
and int64 for times; the next step may overwrite it."""


@dataclass(frozen=True)
class Columns:
    """Positions of the columns in a file, from 0; of the folders above it, from −1 down.

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

    @property
    def inside(self) -> tuple[int, ...]:
        """Those of `places` that are in the file, not of its folders."""
        return tuple(place for place in self.places if place >= 0)

    def split(
        self, columns: Sequence[Column]
    ) -> tuple[Column, Column, Column | None, Column | None, tuple[Column, ...]]:
        """Return users, items, times, ratings and those of `where`, given `(n,)` columns."""
        at = dict(zip(self.places, columns, strict=True))
        return (
            at[self.user],
            at[self.item],
            None if self.time is None else at[self.time],
            None if self.rating is None else at[self.rating],
            tuple(at[place] for place in self.where),
        )


def find_columns(
    names: Sequence[str], settings: FileSettings, empty: Sequence[int] = ()
) -> Columns:
    """Find all columns that are needed among the names of a file; `empty` ones come last."""
    rating = find_column(names, None, RATING_NAMES, "rating")
    return add_conditions(find_event_columns(names, settings, empty), names, settings, rating)


def add_conditions(
    columns: Columns, names: Sequence[str], settings: FileSettings, rating: int | None
) -> Columns:
    """Add to the columns of user, item and time those that decide which rows count.

    `names` are those of all columns; positions from 1 in a file without names. `rating` is the
    position of a column that looks like ratings, if there is one.

    Raises:
        UserError: a named column is missing or there twice, or no column looks like ratings.
    """
    find = partial(find_column, header=settings.header, folders=tuple(settings.partitions))
    where = [find(names, name, (), "--where") for name, _ in settings.where or ()]
    columns = dataclasses.replace(columns, where=tuple(one for one in where if one is not None))
    if settings.min_rating is None:
        ignored = rating if settings.is_log and rating not in columns.places else None
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
    names: Sequence[str], settings: FileSettings, empty: Sequence[int] = ()
) -> Columns:
    """Find the columns of interactions, or of titles, among the names of a file.

    `names` are those of all columns; positions from 1 in a file without names. Columns without
    values, at the positions `empty`, are guessed last.

    Raises:
        UserError: a given name is missing, a needed one cannot be guessed, or two are the same.
    """
    find = partial(find_column, header=settings.header, folders=tuple(settings.partitions))
    places: list[int] = []
    for role, given in settings.given:
        place = find(names, given, role.usual, role.what, empty)
        if place is not None:
            places.append(place)
        elif role in settings.roles[:2]:
            raise UserError(
                f"no {role.what} column among {list_names(names)}: name it with "
                f"--{role.what}-column, or give its position, 1 for the first"
            )
    _check_single(names, places)
    if len(set(places)) < len(places):
        *others, last = (role.what for role in settings.roles)
        raise UserError(f"{', '.join(others)} and {last} must be different columns; name others")
    if max(places[:2]) < 0:
        raise UserError("the file itself must have users or items; not both may be folders' names")
    user, item, *time = places
    return Columns(user, item, time[0] if time else None)


def _check_single(names: Sequence[str], places: Sequence[int]) -> None:
    for name in {names[place] for place in places if place >= 0}:
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
    folders: Sequence[str] = (),
) -> int | None:
    """Find the position of one column among the names of a file; `None` if it cannot be guessed.

    It is the `wanted` name or position, 1 for the first, if the user gave one, else the first of
    the `known` names; columns without values, at the positions `empty`, come last. With a given
    `header` names go over positions. `folders` may be wanted too if no column has their names;
    their positions are −1, −2, …. Messages call the column by its content, `what`.

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
        if wanted in folders:
            return -1 - list(folders).index(wanted)
        raise UserError(
            f"no column '{printable(wanted, 40)}' for the {what} among {list_names(names)}"
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


def looks_like_header(names: Sequence[str], roles: Sequence[Role] = LOG_ROLES) -> bool:
    """Return True if the first line of a text file names the first two columns that it needs."""
    plain = {_plain(name) for name in names}
    return all(not plain.isdisjoint(role.usual) for role in roles[:2])


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
