"""The append-only vocabularies of users and items: identifiers by dense index; and titles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from perennial.storage.reading.identifier_forms import INTEGER, canonical, to_column, to_values
from perennial.storage.reading.identifiers import IdentifierKind, describe_mixture, join_kinds
from perennial.storage.store import Store


@dataclass(frozen=True)
class Vocabulary:
    """One of the two vocabularies of a store."""

    table: Literal["users", "items"]
    index: Literal["user_index", "item_index"]


USERS = Vocabulary("users", "user_index")
ITEMS = Vocabulary("items", "item_index")


def lookup_users(store: Store, ids: Sequence[str | int]) -> NDArray[np.int32]:
    """Return the dense indices of users: `(n,)` int32, −1 if unknown; 5 and "5.0" are the same."""
    return _lookup(store, USERS, pa.array(map(canonical, ids), pa.string()))


def lookup_items(store: Store, ids: Sequence[str | int]) -> NDArray[np.int32]:
    """Return the dense indices of items: `(n,)` int32, −1 if unknown; 5 and "5.0" are the same."""
    return _lookup(store, ITEMS, pa.array(map(canonical, ids), pa.string()))


def user_ids(store: Store, indices: ArrayLike) -> list[str | int]:
    """Return the identifiers of dense user indices `(n,)`; raise `IndexError` if one is unknown."""
    return _identifiers(store, USERS, indices)


def item_ids(store: Store, indices: ArrayLike) -> list[str | int]:
    """Return the identifiers of dense item indices `(n,)`; raise `IndexError` if one is unknown."""
    return _identifiers(store, ITEMS, indices)


def all_ids(store: Store, vocabulary: Vocabulary) -> list[str | int]:
    """Return all identifiers of a vocabulary by dense index, `int` or `str` as in the log."""
    table = store.table(f"SELECT id FROM {vocabulary.table} ORDER BY {vocabulary.index}")
    return _as_in_log(store, vocabulary, table["id"].to_pylist())


def identifier_type(store: Store, vocabulary: Vocabulary) -> pa.DataType:
    """Return the type of a vocabulary's columns: int64 if it consists of such integers, or text."""
    kind = read_kind(store, vocabulary)
    if kind is None or kind.kind != "integer":
        return pa.string()
    others = store.rows(
        f"""SELECT 1 FROM {vocabulary.table}
        WHERE coalesce(CAST(try_cast(id AS BIGINT) AS VARCHAR) <> id, true) LIMIT 1"""
    )
    return pa.string() if others else pa.int64()


def id_column(store: Store, vocabulary: Vocabulary, indices: ArrayLike) -> pa.Array:
    """Return the identifiers of dense indices `(n,)` as a column of `identifier_type`."""
    ids = _identifiers(store, vocabulary, indices)
    return to_column(ids, identifier_type(store, vocabulary))


def describe_other_kind(
    store: Store, vocabulary: Vocabulary, incoming: IdentifierKind
) -> str | None:
    """Describe identifiers of a file that are of another kind than those of the store.

    `None` if the kinds are the same, or integers and text are mixed already.
    """
    known = read_kind(store, vocabulary)
    if known is None:
        return None
    remark = describe_mixture(known, incoming, f"the file's {vocabulary.table}")
    if remark is None or known.kind == "string":
        return remark
    mixed = store.rows(
        f"SELECT 1 FROM {vocabulary.table} WHERE NOT regexp_full_match(id, ?) LIMIT 1", [INTEGER]
    )
    return None if mixed else remark


def read_kind(store: Store, vocabulary: Vocabulary) -> IdentifierKind | None:
    """Return the kind of a vocabulary's identifiers; `None` while it is empty."""
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
    """Return the dense indices of identifiers, after appending the new ones in their order.

    For use inside a transaction. The n identifiers are distinct and in order of first appearance,
    in the `periods` `(n,)` int32, which are recorded for new ones.

    Returns:
        Dense indices `(n,)` int32, and which of them are new `(n,)` bool.

    Raises:
        UserError: one are integers, the others strings.
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
    added = pa.table(
        {
            vocabulary.index: indices[is_new],
            "id": ids.filter(pa.array(is_new)),
            "first_period": periods[is_new],
        }
    )
    store.insert(vocabulary.table, added)
    return indices, is_new


def _lookup(store: Store, vocabulary: Vocabulary, ids: pa.StringArray) -> NDArray[np.int32]:
    table = store.table(
        f"SELECT place, {vocabulary.index} FROM requested JOIN {vocabulary.table} USING (id)",
        inputs={"requested": pa.table({"place": np.arange(len(ids)), "id": ids})},
    )
    places, indices = (column.to_numpy() for column in table.columns)
    all_indices = np.full(len(ids), -1, np.int32)
    all_indices[places] = indices
    return all_indices


_FEW = 1000
"""Up to so many indices are passed as parameters: Arrow conversions import pandas if installed."""


def _identifiers(store: Store, vocabulary: Vocabulary, indices: ArrayLike) -> list[str | int]:
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
        table = store.table(
            f"""SELECT id FROM requested JOIN {vocabulary.table} USING ({vocabulary.index})
            ORDER BY place""",
            inputs={"requested": requested},
        )
        texts = table["id"].to_pylist()
    if len(texts) != len(wanted):
        raise IndexError(f"one of these indices stands for none of the {vocabulary.table}")
    return _as_in_log(store, vocabulary, texts)


def _as_in_log(store: Store, vocabulary: Vocabulary, texts: list[str]) -> list[str | int]:
    kind = read_kind(store, vocabulary)
    if kind is not None and kind.kind == "integer":
        return to_values(texts)
    return list(texts)


def read_titles(store: Store, items: Sequence[str | int] | None = None) -> dict[str, str]:
    """Read the titles of some items, or of all: identifier, as text -> title."""
    if items is None:
        table = store.table("SELECT item_id, title FROM titles")
    else:
        requested = pa.table({"item_id": pa.array(map(canonical, items), pa.string())})
        table = store.table(
            "SELECT DISTINCT item_id, title FROM titles JOIN requested USING (item_id)",
            inputs={"requested": requested},
        )
    return dict(zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True))


def write_titles(store: Store, titles: Mapping[str, str]) -> int:
    """Write titles in one transaction, replacing those of the same items; return their number.

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
