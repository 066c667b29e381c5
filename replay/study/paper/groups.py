"""Cells that differ in their seed alone, taken together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perennial.replay.study.paper.published import Figure
from perennial.replay.study.paper.records import CellRecord

Json = Any
"""What `json.dumps` takes."""

_CHOSEN = (
    "chosen",
    "reg",
    "updates",
    "epochs",
    "steps",
    "validation_HR@100",
    "validation_nDCG@100",
)
"""What a fit's report may say of its choice."""


@dataclass(frozen=True)
class Estimate:
    """A metric over the seeds.

    Attributes:
        mean: of the cells' means.
        stderr: of that mean, if other seeds were drawn; `None` with one seed.
        user_stderr: if other users were asked; the cells' own, averaged.
    """

    mean: float
    stderr: float | None
    user_stderr: float | None


@dataclass(frozen=True)
class Group:
    """Cells that differ in their seed alone.

    Attributes:
        records: one for each seed.
        estimates: metric by metric; those without a value are left out.
    """

    records: tuple[CellRecord, ...]
    estimates: Mapping[Figure, Estimate]

    @property
    def sampler(self) -> str:
        """Of the rows."""
        return self.records[0].sampler

    @property
    def users(self) -> int | None:
        """Rows that were asked for; `None` for all."""
        return self.records[0].users

    @property
    def noise(self) -> float:
        """In train, per cent."""
        return self.records[0].noise

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.records[0].model.name

    @property
    def rows_name(self) -> str:
        """For people: `distill-cf 500`."""
        return "all users" if self.users is None else f"{self.sampler} {self.users:,}"

    @property
    def name(self) -> str:
        """The same with its noise: `distill-cf 500, 20% noise`."""
        return f"{self.rows_name}, {self.noise:g}% noise" if self.noise else self.rows_name

    def mean_seconds(self, stage: str) -> float:
        """Seconds of a stage, averaged over the seeds."""
        return float(np.mean([record.seconds.get(stage, 0.0) for record in self.records]))

    @property
    def peak_bytes(self) -> int:
        """Largest size of a process that fitted or made rows."""
        return max(max(one.peak_bytes, one.rows_peak_bytes) for one in self.records)

    @property
    def fit_peak_bytes(self) -> int:
        """Largest size of a process that fitted and tested."""
        return max(one.peak_bytes for one in self.records)

    def mean(self, figure: Figure) -> float | None:
        """The mean of a metric, if it has one."""
        found = self.estimates.get(figure)
        return None if found is None else found.mean


def group_records(records: Sequence[CellRecord]) -> tuple[Group, ...]:
    """Group cells, in the order of their first ones."""
    found: dict[str, list[CellRecord]] = {}
    for record in records:
        alike = replace(record, seed=0).to_json()
        name = str([alike[part] for part in ("sampler", "users", "noise", "model")])
        found.setdefault(name, []).append(record)
    return tuple(Group(tuple(together), _estimate(together)) for together in found.values())


def choice_of(record: CellRecord) -> dict[str, Json]:
    """What the model of a cell chose, as far as its report says so, flat."""
    report = record.fit_report
    chosen: dict[str, Json] = {}
    for name in _CHOSEN:
        value = report.get(name)
        if isinstance(value, Mapping):
            chosen.update(value)
        elif value is not None:
            chosen.setdefault(name, value)
    return chosen


def _estimate(records: Sequence[CellRecord]) -> dict[Figure, Estimate]:
    values: dict[Figure, list[tuple[float, float]]] = {}
    for record in records:
        for one in record.values:
            if one.mean is not None and one.stderr is not None:
                values.setdefault((one.metric, one.k), []).append((one.mean, one.stderr))
    return {figure: _join(found) for figure, found in values.items()}


def _join(found: Sequence[tuple[float, float]]) -> Estimate:
    means = np.array([mean for mean, _ in found])
    own = float(np.mean([error for _, error in found]))
    among = float(means.std(ddof=1)) / len(means) ** 0.5 if len(means) > 1 else None
    return Estimate(float(means.mean()), among, own)
