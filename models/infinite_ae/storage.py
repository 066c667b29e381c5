"""A solved ∞-AE as its rows, its settings and λ, from which it is solved again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.storage.base import Json
from perennial.storage.results.artifacts import csr_from_arrays


def describe_rows(
    num_items: int,
    settings: Mapping[str, Json],
    report: Mapping[str, Json],
    replayed: NDArray[np.bool_] | None = None,
) -> dict[str, Json]:
    """Return the manifest of the arrays.

    `replayed`, `(n,)` bool, marks rows that came from a memory; `None` where that was not kept.
    """
    manifest: dict[str, Json] = {
        "num_items": num_items,
        "settings": dict(settings),
        "report": dict(report),
    }
    # Not an array: the bytes of a model's arrays are a figure of the reports.
    if replayed is not None:
        manifest["replayed"] = np.flatnonzero(replayed).tolist()
    return manifest


@dataclass(frozen=True)
class StoredFit:
    """Contents of a stored fit.

    Attributes:
        rows: X and W; rows with a teacher come last and are marked as replayed.
        reg: λ.
        replayed: `(n,)` bool, rows that came from a memory; `None` if the file has no such entry.
        answers: `(rows, d_old)` scores of a teacher, if there was one.
        centres: `(m,)` numbers of the centres' rows, if there are any.
    """

    rows: TrainingRows
    settings: Mapping[str, Json]
    reg: float
    report: Mapping[str, Json]
    replayed: NDArray[np.bool_] | None
    answers: NDArray[np.float32] | None
    centres: NDArray[np.int64] | None

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]) -> "StoredFit":
        """Check what was stored; what is wrong is a `KeyError`, `TypeError` or `ValueError`."""
        interactions, weights = _read_rows(arrays, int(manifest["num_items"]))
        num_rows = interactions.shape[0]
        reg = float(manifest["report"]["reg"])
        if not 0 <= reg < np.inf:
            raise ValueError("λ is out of range")
        answers = _check_answers(arrays.get("answers"), interactions.shape)
        num_taught = 0 if answers is None else len(answers)
        return cls(
            rows=TrainingRows(
                interactions=interactions,
                weights=weights,
                replayed=np.arange(num_rows) >= num_rows - num_taught,
                last_period=np.zeros(num_rows, dtype=np.int32),
            ),
            settings=dict(manifest["settings"]),
            reg=reg,
            report=dict(manifest["report"]),
            replayed=_read_replayed(manifest, num_rows),
            answers=answers,
            centres=_check_centres(arrays.get("centres"), num_rows),
        )


def _read_rows(
    arrays: Mapping[str, NDArray[Any]], num_items: int
) -> tuple[csr_array, NDArray[np.float64]]:
    """X and `(n,)` W again."""
    interactions = csr_from_arrays(arrays, num_items)
    weights = np.asarray(arrays["weights"], dtype=np.float64)
    if len(weights) != interactions.shape[0]:
        raise ValueError("there is not one weight for each row")
    if not ((weights > 0).all() and np.isfinite(weights).all()):
        raise ValueError("a weight is out of range")
    return interactions, weights


def _read_replayed(manifest: Mapping[str, Json], num_rows: int) -> NDArray[np.bool_] | None:
    """Read the mask `(num_rows,)` of rows that came from a memory; `None` if there is none."""
    numbers = manifest.get("replayed")
    if numbers is None:
        return None
    chosen = np.array(numbers, dtype=np.int64)
    if chosen.ndim != 1 or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < num_rows):
        raise ValueError("a replayed row is not there")
    replayed = np.zeros(num_rows, dtype=np.bool_)
    replayed[chosen] = True
    return replayed


def _check_answers(
    answers: NDArray[Any] | None, shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """A stored teacher's answers, if there are any."""
    if answers is None:
        return None
    if answers.ndim != 2 or len(answers) > shape[0] or answers.shape[1] > shape[1]:
        raise ValueError("the answers of its teacher do not fit its rows")
    if not np.isfinite(answers).all():
        raise ValueError("an answer of its teacher is not finite")
    return np.asarray(answers, dtype=np.float32)


def _check_centres(centres: NDArray[Any] | None, num_rows: int) -> NDArray[np.int64] | None:
    """`(m,)` ascending numbers of rows, one at least where there are rows."""
    if centres is None:
        return None
    if centres.ndim != 1 or centres.dtype.kind not in "iu":
        raise ValueError("its centres are no list of rows")
    chosen = centres.astype(np.int64)
    inside = ((chosen >= 0) & (chosen < num_rows)).all()
    if not inside or (np.diff(chosen) <= 0).any() or (num_rows and not len(chosen)):
        raise ValueError("its centres are no rows of it")
    return chosen
