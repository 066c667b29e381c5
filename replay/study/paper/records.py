"""A finished cell: its figures, what the model chose, what it took; one small file of JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from perennial.replay.config import ModelChoice
from perennial.replay.metrics.base import UserValues
from perennial.storage.atomic import write_synced
from perennial.storage.errors import UserError

Json = Any
"""What `json.dumps` takes."""

FOLDER = "cells"
"""Where the files lie in a study's folder."""


@dataclass(frozen=True)
class MetricValue:
    """A metric of a cell.

    Attributes:
        mean: over the test users, in the scale that is reported; `None` if nobody was judged.
        stderr: of that mean, if other users of the same kind were asked.
    """

    metric: str
    k: int | None
    mean: float | None
    stderr: float | None

    @classmethod
    def of(cls, metric: str, k: int | None, users: UserValues) -> "MetricValue":
        """The mean Σ wv / Σ w and its standard error √Σ w²(v − mean)² / Σ w.

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
    """A finished cell.

    Attributes:
        key: of everything that it follows from.
        sampler: of its rows.
        users: rows that were asked for; `None` for all.
        noise: in train, per cent.
        num_rows: that the model was fitted on.
        num_interactions: entries of these rows.
        model: name and settings.
        seed: of all draws.
        values: every metric.
        seconds: by stage: `rows` for distilling or sampling, `fit`, `test`.
        peak_bytes: largest size of the process that fitted and tested.
        rows_peak_bytes: of the process that made the rows; 0 for all users.
        fit_report: what the model chose and used.
        rows_report: how the rows were made.
        test_users: who were asked.
        versions: of the code and its libraries.
        finished: when, UTC.
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
        """As it is written."""
        return dataclasses.asdict(self)


def record_path(folder: Path, key: str) -> Path:
    """The file of a cell in a study's folder."""
    return folder / FOLDER / f"{key}.json"


def write_record(folder: Path, record: CellRecord) -> None:
    """Write the file whole or not at all, synced; that is the commit of a cell.

    Raises:
        UserError: it cannot be written.
    """
    path = record_path(folder, record.key)
    text = json.dumps(_plain(record.to_json()), indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, f"{text}\n".encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the disk") from error


def read_record(folder: Path, key: str) -> CellRecord | None:
    """The finished cell with a key; `None` where there is none, or what is there is no such file.

    A damaged file is as good as none: the cell is made again and the file replaced.
    """
    try:
        record = TypeAdapter(CellRecord).validate_json(record_path(folder, key).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.key == key else None


def _plain(value: Json) -> Json:
    """The same without NumPy's numbers, NaN as nothing: models report what they have at hand."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
