"""Groups of cells that differ only in their seeds, and their means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perennial.replay.study.paper.cells import ALL_USERS
from perennial.replay.study.paper.paper_figures import Figure
from perennial.replay.study.paper.records import CellRecord
from perennial.storage.base import Json

HEADLINE: Figure = ("HR", 10)
"""The metric that sentences about results give."""

_CHOSEN = (
    "chosen",
    "reg",
    "updates",
    "epochs",
    "steps",
    "validation_HR@100",
    "validation_nDCG@100",
)
"""Entries of a fit's report about hyper-parameters."""


@dataclass(frozen=True)
class Estimate:
    """A metric over the seeds.

    `stderr` is of that mean under other seeds, `None` with one; `user_stderr` under other users,
    the mean of the cells' own.
    """

    mean: float
    stderr: float | None
    user_stderr: float | None


@dataclass(frozen=True)
class Group:
    """Cells that differ only in their seeds; metrics without a value have no estimate."""

    records: tuple[CellRecord, ...]
    estimates: Mapping[Figure, Estimate]

    @property
    def sampler(self) -> str:
        """Name of the training rows' sampler."""
        return self.records[0].sampler

    @property
    def users(self) -> int | None:
        """Requested number of rows; `None` for all."""
        return self.records[0].users

    @property
    def noise(self) -> float:
        """Noise in the training rows, per cent."""
        return self.records[0].noise

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.records[0].model.name

    @property
    def rows_name(self) -> str:
        """Name of the rows for people: `distill-cf 500`."""
        return "all users" if self.users is None else f"{self.sampler} {self.users:,}"

    @property
    def name(self) -> str:
        """Name of rows and noise for people: `distill-cf 500, 20% noise`."""
        return f"{self.rows_name}, {self.noise:g}% noise" if self.noise else self.rows_name

    def mean_seconds(self, stage: str) -> float:
        """Return the seconds of a stage, averaged over the seeds."""
        return float(np.mean([record.seconds.get(stage, 0.0) for record in self.records]))

    @property
    def peak_bytes(self) -> int:
        """Largest size of a process that fitted, sampled or distilled."""
        return max(max(one.peak_bytes, one.rows_peak_bytes) for one in self.records)

    def mean(self, figure: Figure) -> float | None:
        """Return the mean of a metric; `None` if it has no value."""
        estimate = self.estimates.get(figure)
        return None if estimate is None else estimate.mean


def group_records(records: Sequence[CellRecord]) -> tuple[Group, ...]:
    """Group cells, in the order of their first ones."""
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        alike = replace(record, seed=0).to_json()
        name = str([alike[part] for part in ("sampler", "users", "noise", "model")])
        groups.setdefault(name, []).append(record)
    return tuple(Group(tuple(group), _estimates(group)) for group in groups.values())


def chosen_settings(record: CellRecord) -> dict[str, Json]:
    """Return the hyper-parameters that a cell's model chose, as far as it reports them, flat."""
    chosen: dict[str, Json] = {}
    for name in _CHOSEN:
        value = record.fit_report.get(name)
        if isinstance(value, Mapping):
            chosen.update(value)
        elif value is not None:
            chosen.setdefault(name, value)
    return chosen


def whole_group(group: Group, groups: Sequence[Group]) -> Group | None:
    """Return the group of the same model on all users without noise."""
    wanted = (group.model, ALL_USERS, 0.0)
    return next((one for one in groups if (one.model, one.sampler, one.noise) == wanted), None)


def share_of_whole(group: Group, groups: Sequence[Group]) -> float | None:
    """Return HR@10 in per cent of the same model's on all users without noise."""
    whole = whole_group(group, groups)
    ours, theirs = group.mean(HEADLINE), None if whole is None else whole.mean(HEADLINE)
    return 100.0 * ours / theirs if ours is not None and theirs else None


def _estimates(records: Sequence[CellRecord]) -> dict[Figure, Estimate]:
    values: dict[Figure, list[tuple[float, float]]] = {}
    for record in records:
        for one in record.values:
            if one.mean is not None and one.stderr is not None:
                values.setdefault((one.metric, one.k), []).append((one.mean, one.stderr))
    return {figure: _estimate(pairs) for figure, pairs in values.items()}


def _estimate(pairs: Sequence[tuple[float, float]]) -> Estimate:
    means = np.array([mean for mean, _ in pairs])
    user_stderr = float(np.mean([stderr for _, stderr in pairs]))
    stderr = float(means.std(ddof=1)) / len(means) ** 0.5 if len(means) > 1 else None
    return Estimate(float(means.mean()), stderr, user_stderr)
