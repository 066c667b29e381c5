"""Records of finished cells: figures, chosen hyper-parameters and costs, in a JSON file each."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from perennial.replay.config import ModelChoice
from perennial.replay.metrics.base import UserValues
from perennial.storage.atomic import write_synced
from perennial.storage.base import Json
from perennial.storage.errors import UserError

FOLDER = "cells"
"""Subfolder of a study's folder with the files."""


@dataclass(frozen=True)
class MetricValue:
    """A metric of a cell: mean over the test users, `None` without any, and its standard error."""

    metric: str
    k: int | None
    mean: float | None
    stderr: float | None

    @classmethod
    def of(cls, metric: str, k: int | None, users: UserValues) -> "MetricValue":
        """Compute the mean Σ wv / Σ w and its standard error √Σ w²(v − mean)² / Σ w.

        The second is that of a ratio of sums over independent users; with equal weights it is the
        usual σ/√n, but for n in place of n − 1. The pooled AUC takes the negatives as given.
        """
        total = float(users.weights.sum())
        if not total > 0:
            return cls(metric, k, None, None)
        spread = users.weights * (users.values - users.mean)
        return cls(metric, k, users.mean, float(np.sqrt(spread @ spread)) / total)


@dataclass(frozen=True)
class CellRecord:
    """A finished cell; its key is a hash of everything that determines it.

    Attributes:
        users: requested number of rows; `None` for all.
        noise: in the training rows, per cent.
        seconds: by stage: `rows` for distilling or sampling, `fit`, `test`.
        peak_bytes: largest size of the process that fitted and tested.
        rows_peak_bytes: largest size of the process that made the rows; 0 for all users.
    """

    key: str
    sampler: str
    users: int | None
    noise: float
    num_rows: int
    num_interactions: int
    model: ModelChoice
    seed: int
    values: tuple[MetricValue, ...]
    seconds: Mapping[str, float]
    peak_bytes: int
    rows_peak_bytes: int
    fit_report: Mapping[str, Json]
    rows_report: Mapping[str, Json]
    test_users: int
    versions: Mapping[str, str]
    finished: str

    def to_json(self) -> dict[str, Json]:
        """Return the object that is written."""
        return dataclasses.asdict(self)


def record_path(folder: Path, key: str) -> Path:
    """Return the file of a cell in a study's folder."""
    return folder / FOLDER / f"{key}.json"


def write_record(folder: Path, record: CellRecord) -> None:
    """Write the file of a cell whole or not at all, synced; this commits the cell."""
    path = record_path(folder, record.key)
    text = json.dumps(_plain(record.to_json()), indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, f"{text}\n".encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the disk") from error


def read_record(folder: Path, key: str) -> CellRecord | None:
    """Read the finished cell with a key; `None` if its file is missing or damaged."""
    try:
        record = TypeAdapter(CellRecord).validate_json(record_path(folder, key).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.key == key else None


def _plain(value: Json) -> Json:
    """Convert a model's report to plain JSON: NumPy numbers to Python's, NaN to `None`."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
