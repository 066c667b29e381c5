"""The append-only vocabularies: which identifier stands behind a dense index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from perennial.storage.reading.identifiers import IdentifierKind, join_kinds
from perennial.storage.store import Store


@dataclass(frozen=True)
class Vocabulary:
    """One of the two vocabularies of a store, as names of its table and column.

    Attributes:
        table: its table.
        index: the column of dense indices.
    """

    table: Literal["users", "items"]
    index: Literal["user_index", "item_index"]


USERS = Vocabulary("users", "user_index")
ITEMS = Vocabulary("items", "item_index")


def lookup_users(store: Store, ids: Sequence[str | int]) -> NDArray[np.int32]:
    """Dense indices of users, `(n,)`, −1 where unknown; 5 and "5" find the same user."""
    return _lookup(store, USERS, pa.array([str(identifier) for identifier in ids], pa.string()))


def lookup_items(store: Store, ids: Sequence[str | int]) -> NDArray[np.int32]:
    """Dense indices of items, `(n,)`, −1 where unknown; 5 and "5" find the same item."""
    return _lookup(store, ITEMS, pa.array([str(identifier) for identifier in ids], pa.string()))


def user_ids(store: Store, indices: ArrayLike) -> list[str] | list[int]:
    """The identifiers behind dense user indices, as they went in.

    Raises:
        IndexError: an index that no user has.
    """
    return _identifiers(store, USERS, indices)


def item_ids(store: Store, indices: ArrayLike) -> list[str] | list[int]:
    """The identifiers behind dense item indices, as they went in.

    Raises:
        IndexError: an index that no item has.
    """
    return _identifiers(store, ITEMS, indices)


def all_ids(store: Store, vocabulary: Vocabulary) -> list[str] | list[int]:
    """Every identifier of a vocabulary, in the order of the dense indices, as it went in."""
    found = store.table(f"SELECT id FROM {vocabulary.table} ORDER BY {vocabulary.index}")
    return _as_they_went_in(store, vocabulary, found["id"].to_pylist())


def read_kind(store: Store, vocabulary: Vocabulary) -> IdentifierKind | None:
    """What the identifiers of a vocabulary are; None while it is empty."""
    rows = store.rows(
        "SELECT kind, inferred FROM identifier_kinds WHERE vocabulary = ?", [vocabulary.table]
    )
    return IdentifierKind(*rows[0]) if rows else None


def extend(
    store: Store,
    vocabulary: Vocabulary,
    ids: pa.StringArray,
    periods: NDArray[np.int32],
    incoming: IdentifierKind,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Give identifiers their dense indices, appending the new ones in the order they come.

    Args:
        store: inside a transaction.
        vocabulary: which one.
        ids: distinct identifiers in order of first appearance.
        periods: `(n,)` the period of each one's first appearance, kept if it is new.
        incoming: what they are.

    Returns:
        Indices `(n,)` and which of them are new, `(n,)`.

    Raises:
        UserError: integers meet strings.
    """
    name = f"the file's {vocabulary.table}"
    joint = join_kinds(read_kind(store, vocabulary), incoming, name)
    store.rows(
        "INSERT OR REPLACE INTO identifier_kinds VALUES (?, ?, ?)",
        [vocabulary.table, joint.kind, joint.inferred],
    )
    known = store.rows(f"SELECT count(*) FROM {vocabulary.table}")[0][0]
    indices = np.full(len(ids), -1, np.int32) if not known else _lookup(store, vocabulary, ids)
    is_new = indices < 0
    indices[is_new] = np.arange(known, known + np.count_nonzero(is_new), dtype=np.int32)
    fresh = pa.table(
        {
            vocabulary.index: indices[is_new],
            "id": ids.filter(pa.array(is_new)),
            "first_period": periods[is_new],
        }
    )
    store.insert(vocabulary.table, fresh)
    return indices, is_new


def _lookup(store: Store, vocabulary: Vocabulary, ids: pa.StringArray) -> NDArray[np.int32]:
    found = store.table(
        f"SELECT place, {vocabulary.index} FROM asked JOIN {vocabulary.table} USING (id)",
        inputs={"asked": pa.table({"place": np.arange(len(ids)), "id": ids})},
    )
    places, indices = (column.to_numpy() for column in found.columns)
    all_indices = np.full(len(ids), -1, np.int32)
    all_indices[places] = indices
    return all_indices


_FEW = 1000
"""So many indices are passed as parameters: Arrow conversions import pandas if it is installed."""


def _identifiers(store: Store, vocabulary: Vocabulary, indices: ArrayLike) -> list[str] | list[int]:
    wanted = np.asarray(indices, np.int64).ravel()
    if len(wanted) <= _FEW:
        rows = store.rows(
            f"""SELECT id FROM
            (SELECT unnest(?::BIGINT[]) AS {vocabulary.index}, unnest(range(?)) AS place)
            JOIN {vocabulary.table} USING ({vocabulary.index}) ORDER BY place""",
            [wanted.tolist(), len(wanted)],
        )
        texts = [text for (text,) in rows]
    else:
        requested = pa.table({"place": np.arange(len(wanted)), vocabulary.index: wanted})
        found = store.table(
            f"""SELECT id FROM requested JOIN {vocabulary.table} USING ({vocabulary.index})
            ORDER BY place""",
            inputs={"requested": requested},
        )
        texts = found["id"].to_pylist()
    if len(texts) != len(wanted):
        raise IndexError(f"one of these indices stands for none of the {vocabulary.table}")
    return _as_they_went_in(store, vocabulary, texts)


def _as_they_went_in(
    store: Store, vocabulary: Vocabulary, texts: list[str]
) -> list[str] | list[int]:
    kind = read_kind(store, vocabulary)
    if kind is not None and kind.kind == "integer":
        return [int(text) for text in texts]
    return texts


def read_titles(store: Store, items: Sequence[str | int] | None = None) -> dict[str, str]:
    """Identifier, as text -> title, of those that have one.

    Args:
        store: that holds them.
        items: only of these; all without.
    """
    if items is None:
        found = store.table("SELECT item_id, title FROM titles")
    else:
        asked = pa.table({"item_id": pa.array([str(item) for item in items], pa.string())})
        found = store.table(
            "SELECT DISTINCT item_id, title FROM titles JOIN asked USING (item_id)",
            inputs={"asked": asked},
        )
    return dict(zip(found["item_id"].to_pylist(), found["title"].to_pylist(), strict=True))


def write_titles(store: Store, titles: Mapping[str, str]) -> int:
    """Enter titles in one transaction, replacing those of the same items; how many there are now.

    Items need not be known yet: a catalogue may come before the first interaction with its items.
    """
    rows = pa.table(
        {
            "item_id": pa.array(titles.keys(), pa.string()),
            "title": pa.array(titles.values(), pa.string()),
        }
    )
    with store.transaction():
        store.connection.register("named", rows)
        try:
            store.connection.execute(
                "DELETE FROM titles WHERE item_id IN (SELECT item_id FROM named)"
            )
        finally:
            store.connection.unregister("named")
        store.insert("titles", rows)
    return int(store.rows("SELECT count(*) FROM titles")[0][0])
