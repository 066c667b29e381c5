"""What people call items."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from storage.store import Store


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
