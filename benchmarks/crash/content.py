"""Hashes of a store's content, equal for two stores exactly if their contents are equal."""

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import load_arrays

ABSENT = "absent"
"""Stands for a store without any table, or without a file."""

_OF_THE_MOMENT = {
    "runs": ("started", "ended"),
    "fits": ("report",),
    "cells": ("stages", "peak_rss_bytes", "finished"),
    "summaries": ("report", "created"),
    "publications": ("stages", "published"),
}
"""Columns of times, durations and machines, by table."""


def hash_tables(connection: Any) -> dict[str, str]:
    """Each table -> a hash of its rows, whatever their order; events keep theirs."""
    found = connection.execute(
        """SELECT table_name FROM information_schema.tables
        WHERE table_type = 'BASE TABLE' AND table_catalog = current_database()"""
    ).fetchall()
    hashes = {}
    for (table,) in sorted(found):
        left_out = _OF_THE_MOMENT.get(table, ())
        columns = f"* EXCLUDE ({', '.join(left_out)})" if left_out else "*"
        order = "rowid" if table == "interactions" else "ALL"
        rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()
        hashes[table] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return hashes


def hash_store(connection: Any) -> str:
    """One hash of all tables."""
    hashes = hash_tables(connection)
    if not hashes:
        return ABSENT
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Hash a store that nobody has open, without changing it."""
    if not path.exists():
        return ABSENT
    with duckdb.connect(str(path), read_only=True) as connection:
        return hash_store(connection)


def hash_folder(store: Path) -> dict[str, str]:
    """All that must be the same at the end: each table, and the arrays of each model's file.

    Any other file has its name alone.
    """
    with duckdb.connect(str(store), read_only=True) as connection:
        hashes = hash_tables(connection)
    for path in sorted(store.parent.rglob("*")):
        if path.is_file() and path != store:
            hashes[str(path.relative_to(store.parent))] = hash_arrays(path)
    return hashes


def hash_arrays(path: Path) -> str:
    """The arrays of a file, to the bit; any other file is only called one."""
    try:
        arrays, _ = load_arrays(path)
    except UserError:
        return "a file"
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name}{values.dtype}{values.shape}".encode())
        digest.update(_bytes_of(values))
    return digest.hexdigest()


def _bytes_of(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).tobytes()
