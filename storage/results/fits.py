"""Recorded fits, their memory limits, and the stored files of fitted models.

The row is the commit point: a file that no row names does not count, and is removed.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from perennial.storage.atomic import sweep_temporary
from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import SUFFIX, load_arrays, save_arrays
from perennial.storage.store import Store

Purpose = Literal["warm-start", "published", "live"]
"""Start of the next fit, recommendations on request, or newest publication of a live store."""

_PREFIX = "fit-"


@dataclass(frozen=True)
class Fit:
    """Record of a fit.

    Attributes:
        memory_limit: smallest memory limit in bytes known to give this very fit; `None` if it was
            only made without a limit.
        report: chosen hyper-parameters and used resources.
    """

    key: str
    memory_limit: int | None
    report: Mapping[str, Json]


def find_fit(store: Store, key: str) -> Fit | None:
    """Return a fit by its key; `None` if there is none."""
    rows = store.rows("SELECT fit_key, memory_limit, report FROM fits WHERE fit_key = ?", [key])
    return Fit(rows[0][0], rows[0][1], json.loads(rows[0][2])) if rows else None


def insert_fit(store: Store, fit: Fit) -> None:
    """Record a fit, replacing one with the same key; for use inside a transaction."""
    store.connection.execute("DELETE FROM fits WHERE fit_key = ?", [fit.key])
    store.connection.execute(
        "INSERT INTO fits VALUES (?, ?, ?)",
        [fit.key, fit.memory_limit, json.dumps(dict(fit.report))],
    )


def write_model(
    store: Store, fit_key: str, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
) -> Path:
    """Write the file of a fitted model; it does not count before `insert_model_file`."""
    return save_arrays(store.models_folder, f"{_PREFIX}{fit_key}", arrays, manifest)


def insert_model_file(store: Store, fit_key: str, purpose: Purpose, chain: str, path: Path) -> None:
    """Record a file that `write_model` wrote; for use inside a transaction.

    A chain is a sequence of fits, of which only the newest file of each purpose is kept.
    """
    store.connection.execute(
        "DELETE FROM model_files WHERE purpose = ? AND chain = ?", [purpose, chain]
    )
    store.connection.execute(
        "INSERT INTO model_files VALUES (?, ?, ?, ?)", [fit_key, purpose, chain, path.name]
    )


def find_model_file(store: Store, fit_key: str) -> Path | None:
    """Return the model file of a fit; `None` if none is recorded, or the file is lost."""
    files = store.rows("SELECT file FROM model_files WHERE fit_key = ? LIMIT 1", [fit_key])
    path = store.models_folder / files[0][0] if files else None
    return path if path is not None and path.exists() else None


def read_model(
    store: Store, fit_key: str
) -> tuple[dict[str, NDArray[Any]], dict[str, Json]] | None:
    """Read the arrays (any shape) and the manifest of a fit's model; `None` if lost or damaged."""
    files = store.rows("SELECT file FROM model_files WHERE fit_key = ? LIMIT 1", [fit_key])
    # A model can always be fitted again, so a lost file is no error.
    with suppress(UserError):
        return load_arrays(store.models_folder / files[0][0]) if files else None
    return None


def sweep_model_files(store: Store) -> None:
    """Delete model files that no row names: replaced ones, and those that killed runs left."""
    if not store.models_folder.is_dir():
        return
    sweep_temporary(store.models_folder, SUFFIX)
    kept = {name for (name,) in store.rows("SELECT file FROM model_files")}
    for path in store.models_folder.glob(f"{_PREFIX}*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
