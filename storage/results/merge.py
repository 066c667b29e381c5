"""Merging the results of another copy of a store: fits, cells, summaries.

Every result has a key, a hash of everything that it depends on, so merging twice changes nothing,
and nothing is counted twice.
"""

import shutil
from collections.abc import Sequence, Set
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from perennial.storage.results.fits import insert_model_file
from perennial.storage.store import Store

_KEYED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("fits", "fit_key", ()),
    ("evaluations", "evaluation_key", ()),
    ("cells", "cell_key", ("figures",)),
    ("summaries", "summary_key", ("summary_entries",)),
)
"""Table, its key, and the tables with further rows of the same key."""


def merge_results(store: Store, other: Store) -> int:
    """Copy fits, evaluations, cells, summaries and model files, in one transaction.

    Both stores have the same log, cut the same way. Model files are copied for new fits only;
    `store` keeps its own of the chains that `other` has not continued. The number of new cells is
    returned.
    """
    with store.transaction():
        new = {
            table: _copy_missing(store, other, table, key, parts) for table, key, parts in _KEYED
        }
        _copy_model_files(store, other, set(new["fits"]))
        _lower_memory_limits(store, other)
    return len(new["cells"])


def _copy_missing(
    store: Store, other: Store, table: str, key: str, parts: Sequence[str]
) -> list[str]:
    """Copy the rows of missing keys; return these keys."""
    known = pa.array([value for (value,) in store.rows(f"SELECT {key} FROM {table}")], pa.string())
    theirs = other.table(f"SELECT * FROM {table} ORDER BY rowid")
    missing = theirs.filter(pc.invert(pc.is_in(theirs[key], value_set=known)))
    if missing.num_rows == 0:
        return []
    store.insert(table, missing)
    for part in parts:
        rows = other.table(f"SELECT * FROM {part} ORDER BY rowid")
        store.insert(part, rows.filter(pc.is_in(rows[key], value_set=missing[key])))
    new: list[str] = missing[key].to_pylist()
    return new


def _copy_model_files(store: Store, other: Store, new_fits: Set[str]) -> None:
    """Copy the models of new fits; a lost file is no error, since it can be made again."""
    for fit_key, purpose, chain, name in other.rows(
        "SELECT fit_key, purpose, chain, file FROM model_files ORDER BY rowid"
    ):
        if fit_key not in new_fits:
            continue
        with suppress(OSError):
            if not (store.models_folder / name).exists():
                store.models_folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(other.models_folder / name, store.models_folder / name)
            insert_model_file(store, fit_key, purpose, chain, store.models_folder / name)


def _lower_memory_limits(store: Store, other: Store) -> None:
    """Lower the memory limit of a fit that `other` made within a smaller one."""
    theirs = other.table("SELECT fit_key, memory_limit FROM fits WHERE memory_limit IS NOT NULL")
    store.connection.register("theirs", theirs)
    try:
        store.connection.execute(
            """UPDATE fits SET memory_limit = theirs.memory_limit FROM theirs
            WHERE fits.fit_key = theirs.fit_key
            AND (fits.memory_limit IS NULL OR fits.memory_limit > theirs.memory_limit)"""
        )
    finally:
        store.connection.unregister("theirs")
