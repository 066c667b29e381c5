"""What a store knows of users and items, held in memory so that the store can be closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import count_known_items, read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, all_ids, lookup_users, read_titles
from perennial.storage.log.vocabulary import user_ids as ids_of_users
from perennial.storage.store import Store


class UnknownName(UserError):  # noqa: N818 - it is no fault of the program
    """A user or an item that the store does not know.

    Attributes:
        names: which ones.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


@dataclass(frozen=True)
class Catalogue:
    """The names, titles and histories of a store.

    Attributes:
        num_users: of the store.
        user_ids: the users that can be asked about, as they went in.
        user_rows: identifier, as text -> row of `histories`.
        histories: `(len(user_ids), items)` float32 binary: all that is still held of each user.
        item_ids: by dense index, as they went in.
        item_places: identifier, as text -> dense index.
        titles: identifier, as text -> title, of those that have one.
    """

    num_users: int
    user_ids: Sequence[str | int]
    user_rows: Mapping[str, int]
    histories: csr_array
    item_ids: Sequence[str | int]
    item_places: Mapping[str, int]
    titles: Mapping[str, str]

    @classmethod
    def load(cls, store: Store, users: Sequence[str | int] | None = None) -> "Catalogue":
        """Read it.

        Args:
            store: that holds a log.
            users: whose histories to read, of those that are known; everybody's if not told.

        Raises:
            UserError: the log is empty.
        """
        periods = list_periods(store)
        if not periods:
            raise UserError(
                f"{store.path or 'the store'} holds no interactions; put some in with "
                "`perennial ingest`"
            )
        last = periods[-1].period
        num_users = sum(period.new_users for period in periods)
        num_items = count_known_items(store, last)
        user_ids: Sequence[str | int]
        if users is None:
            user_ids = all_ids(store, USERS)
            histories = _all_histories(store, last, (num_users, num_items))
        else:
            # By their text: 5 and "5" are one.
            asked = list({str(user): user for user in users})
            indices = lookup_users(store, asked)
            known = indices >= 0
            user_ids = ids_of_users(store, indices[known])
            histories = read_rows(
                store, 1, last, num_items=num_items, users=indices[known]
            ).interactions
        item_ids: Sequence[str | int] = all_ids(store, ITEMS)
        return cls(
            num_users=num_users,
            user_ids=user_ids,
            user_rows={str(user): row for row, user in enumerate(user_ids)},
            histories=histories,
            item_ids=item_ids,
            item_places={str(item): place for place, item in enumerate(item_ids)},
            titles=read_titles(store),
        )

    def context(self, user: str | int | None, items: Sequence[str | int] = ()) -> csr_array:
        """All of a user, or someone who likes some items: `(1, items)` float32 binary.

        Raises:
            UnknownName: the store does not know the user, or one of the items.
        """
        return self.basket(items) if user is None else self.histories[self.rows_of([user])]

    def rows_of(self, users: Sequence[str | int]) -> NDArray[np.int64]:
        """Rows of `histories`, `(n,)`.

        Raises:
            UnknownName: nobody has one of the identifiers.
        """
        unknown = [str(user) for user in users if str(user) not in self.user_rows]
        if unknown:
            named = _few([repr(name[:80]) for name in unknown])
            raise UnknownName(
                f"users {named} are not in the store; check the identifiers"
                if len(unknown) > 1
                else f"user {named} is not in the store; check the identifier, or ask by items "
                "that they like",
                unknown,
            )
        return np.array([self.user_rows[str(user)] for user in users], np.int64)

    def basket(self, items: Sequence[str | int]) -> csr_array:
        """Someone who likes some items: `(1, items)` float32 binary.

        Raises:
            UnknownName: an item that the store does not know.
        """
        unknown = [str(item) for item in items if str(item) not in self.item_places]
        if unknown:
            raise UnknownName(
                f"unknown item{'s' if len(unknown) > 1 else ''} {_few(unknown)}: not in "
                "the store; check the identifiers, or leave them out",
                unknown,
            )
        return self.marked(items)

    def marked(self, items: Sequence[str | int]) -> csr_array:
        """`(1, items)` float32 with 1 at those of the items that are known."""
        places = {self.item_places[str(item)] for item in items if str(item) in self.item_places}
        columns = np.array(sorted(places), np.int32)
        ones, ends = np.ones(len(columns), np.float32), np.array([0, len(columns)], np.int32)
        return csr_array((ones, columns, ends), shape=(1, len(self.item_ids)))

    def of_those_in(self, store: Store) -> "Catalogue":
        """The same without users that the store has no more."""
        there = {str(user) for user in all_ids(store, USERS)}
        rows = {user: row for user, row in self.user_rows.items() if user in there}
        return replace(self, user_rows=rows)

    def title(self, item: str | int) -> str | None:
        """What people call an item, if that is known."""
        return self.titles.get(str(item))


def _all_histories(store: Store, last: int, shape: tuple[int, int]) -> csr_array:
    """A row for each user of the vocabulary, empty where nothing of them is held."""
    held = read_rows(store, 1, last, num_items=shape[1])
    lengths = np.zeros(shape[0], held.interactions.indptr.dtype)
    lengths[held.users] = np.diff(held.interactions.indptr)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(lengths.dtype)
    return csr_array((held.interactions.data, held.interactions.indices, ends), shape=shape)


def _few(names: Sequence[str], most: int = 5) -> str:
    """Names for a message, cut short."""
    shown = ", ".join(name[:82] for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
