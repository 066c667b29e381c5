"""Users, items, titles and histories of a store, in memory, so that the store can be closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import count_known_items, read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import (
    ITEMS,
    USERS,
    all_ids,
    identifier_type,
    lookup_users,
    read_titles,
    user_ids,
)
from perennial.storage.reading.identifier_forms import canonical
from perennial.storage.store import Store


class UnknownName(UserError):  # noqa: N818 - it is no fault of the program
    """Users or items that are not in the store."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


@dataclass(frozen=True)
class Catalogue:
    """Identifiers, titles and histories of a store.

    Attributes:
        user_ids: users whose histories were loaded, as in the log.
        user_rows: identifier, as `canonical` text -> row of `histories`.
        histories: `(len(user_ids), items)` float32 binary: retained interactions of each user.
        item_indices: identifier, as `canonical` text -> dense index.
        titles: identifier, as `canonical` text -> title, of the items that have one.
        user_type: Arrow type of a column of users: int64 if all users of the store are such
            integers, else text.
    """

    user_ids: Sequence[str | int]
    user_rows: Mapping[str, int]
    histories: csr_array
    item_ids: Sequence[str | int]
    item_indices: Mapping[str, int]
    titles: Mapping[str, str]
    user_type: pa.DataType
    item_type: pa.DataType

    @classmethod
    def load(cls, store: Store, users: Sequence[str | int] | None = None) -> "Catalogue":
        """Load it, with the histories of those `users` that are in the store; of all if `None`."""
        periods = list_periods(store)
        if not periods:
            raise UserError(
                f"{store.path or 'the store'} holds no interactions; put some in with "
                "`perennial ingest`"
            )
        last = periods[-1].period
        num_items = count_known_items(store, last)
        loaded: Sequence[str | int]
        if users is None:
            loaded = all_ids(store, USERS)
            histories = _all_histories(store, last, (len(loaded), num_items))
        else:
            indices = lookup_users(store, users)
            indices = indices[indices >= 0]
            loaded = user_ids(store, indices)
            histories = read_rows(store, 1, last, num_items=num_items, users=indices).interactions
        item_ids: Sequence[str | int] = all_ids(store, ITEMS)
        return cls(
            user_ids=loaded,
            user_rows={str(user): row for row, user in enumerate(loaded)},
            histories=histories,
            item_ids=item_ids,
            item_indices={str(item): index for index, item in enumerate(item_ids)},
            titles=read_titles(store),
            user_type=identifier_type(store, USERS),
            item_type=identifier_type(store, ITEMS),
        )

    def context(self, user: str | int | None, items: Sequence[str | int] = ()) -> csr_array:
        """Build the context, `(1, items)` float32 binary, of a user, or of one who likes `items`.

        Raises:
            UnknownName: the user, or one of the items, is not in the store.
        """
        if user is not None:
            return self.histories[self.find_rows([user])]
        unknown = [str(item) for item in items if canonical(item) not in self.item_indices]
        if unknown:
            raise UnknownName(
                f"unknown item{'s' if len(unknown) > 1 else ''} {_shorten(unknown)}: not in "
                "the store; check the identifiers, or leave them out",
                unknown,
            )
        return self.indicator(items)

    def find_rows(self, users: Sequence[str | int]) -> NDArray[np.int64]:
        """Return the rows of `histories` of some users, `(n,)`; `UnknownName` if one is unknown."""
        unknown = [str(user) for user in users if canonical(user) not in self.user_rows]
        if unknown:
            names = _shorten([repr(name[:80]) for name in unknown])
            raise UnknownName(
                f"users {names} are not in the store; check the identifiers"
                if len(unknown) > 1
                else f"user {names} is not in the store; check the identifier, or ask by items "
                "that they like",
                unknown,
            )
        return np.array([self.user_rows[canonical(user)] for user in users], np.int64)

    def indicator(self, items: Sequence[str | int]) -> csr_array:
        """Return `(1, items)` float32 with 1 at those of the items that are known."""
        names = map(canonical, items)
        known = {self.item_indices[name] for name in names if name in self.item_indices}
        columns = np.array(sorted(known), np.int32)
        ones, ends = np.ones(len(columns), np.float32), np.array([0, len(columns)], np.int32)
        return csr_array((ones, columns, ends), shape=(1, len(self.item_ids)))

    def without_erased_users(self, store: Store) -> "Catalogue":
        """Return a catalogue without the users that `store` no longer has."""
        remaining = lookup_users(store, tuple(self.user_rows)) >= 0
        if remaining.all():
            return self
        rows = zip(self.user_rows.items(), remaining.tolist(), strict=True)
        return replace(self, user_rows=dict(row for row, remains in rows if remains))

    def title(self, item: str | int) -> str | None:
        """Return the title of an item, or `None` if it has none."""
        return self.titles.get(canonical(item))


def _all_histories(store: Store, last: int, shape: tuple[int, int]) -> csr_array:
    """Return one row per user of the vocabulary, empty where nothing of them is retained."""
    rows = read_rows(store, 1, last, num_items=shape[1])
    lengths = np.zeros(shape[0], rows.interactions.indptr.dtype)
    lengths[rows.users] = np.diff(rows.interactions.indptr)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(lengths.dtype)
    return csr_array((rows.interactions.data, rows.interactions.indices, ends), shape=shape)


def _shorten(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(name[:82] for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
