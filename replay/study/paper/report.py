"""Results of a study, as tables for people and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from perennial.models.registry import make_recipe
from perennial.replay.study.paper.base import PaperStudy, StudyOptions
from perennial.replay.study.paper.cells import StudyContext
from perennial.replay.study.paper.groups import Group, group_records
from perennial.replay.study.paper.paper_figures import Figure, difference_percent, published_figure
from perennial.replay.study.paper.records import CellRecord
from perennial.replay.study.paper.split import OpenSplit
from perennial.storage.base import Json

_SCHEMA = pa.schema(
    {
        "study": pa.string(),
        "source": pa.string(),
        "sampler": pa.string(),
        "users": pa.int64(),
        "noise": pa.float64(),
        "rows": pa.int64(),
        "model": pa.string(),
        "metric": pa.string(),
        "k": pa.int64(),
        "mean": pa.float64(),
        "stderr": pa.float64(),
        "user_stderr": pa.float64(),
        "seeds": pa.int64(),
        "published": pa.float64(),
        "difference_percent": pa.float64(),
        "rows_seconds": pa.float64(),
        "fit_seconds": pa.float64(),
        "test_seconds": pa.float64(),
        "peak_bytes": pa.int64(),
    }
)


def describe_study(
    split: OpenSplit, options: StudyOptions, context: StudyContext
) -> dict[str, Json]:
    """Describe the settings of a study, for people."""
    train, validation, test = split.num_interactions
    return {
        "source": split.source,
        "split": split.origin,
        "split_hash": split.content,
        "paper": split.paper,
        "num_users": split.num_users,
        "num_items": split.num_items,
        "train": train,
        "validation": validation,
        "test": test,
        "keep_repeats": context.keep_repeats,
        "samplers": list(options.samplers),
        "users": list(options.users),
        "noise": [one.percent for one in options.noises],
        "noise_kind": options.noises[0].kind,
        "seeds": list(options.seeds),
        "models": [
            {"name": one.name, "settings": dict(make_recipe(one.name, one.settings).settings)}
            for one in options.models
        ],
        "distillation": dict(options.distillation),
        "versions": dict(context.versions),
    }


@dataclass(frozen=True)
class StudyResults:
    """Results of a study."""

    name: str
    study: PaperStudy
    split: OpenSplit
    config: Mapping[str, Json]
    records: tuple[CellRecord, ...]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Cells that differ only in their seeds."""
        return group_records(self.records)

    def published(self, group: Group, figure: Figure) -> float | None:
        """Return the paper's figure for a group; `None` if it has none."""
        row = None if self.study.row is None else self.study.row(group)
        return None if row is None else published_figure(self.split.paper, row, figure)

    @property
    def has_published(self) -> bool:
        """True if the paper has any of the figures."""
        return any(
            self.published(group, figure) is not None
            for group in self.groups
            for figure in group.estimates
        )

    def rows(self) -> list[dict[str, Json]]:
        """Return a table row for each group and metric."""
        rows = []
        for group in self.groups:
            for figure, one in group.estimates.items():
                published = self.published(group, figure)
                rows.append(
                    {
                        "study": self.name,
                        "source": self.split.source,
                        "sampler": group.sampler,
                        "users": group.users,
                        "noise": group.noise,
                        "rows": group.records[0].num_rows,
                        "model": group.model,
                        "metric": figure[0],
                        "k": figure[1],
                        "mean": one.mean,
                        "stderr": one.stderr,
                        "user_stderr": one.user_stderr,
                        "seeds": len(group.records),
                        "published": published,
                        "difference_percent": (
                            None if published is None else difference_percent(one.mean, published)
                        ),
                        "rows_seconds": group.mean_seconds("rows"),
                        "fit_seconds": group.mean_seconds("fit"),
                        "test_seconds": group.mean_seconds("test"),
                        "peak_bytes": group.peak_bytes,
                    }
                )
        return rows

    def to_table(self) -> pa.Table:
        """Return `rows` as an Arrow table."""
        return pa.Table.from_pylist(self.rows(), schema=_SCHEMA)

    def to_json(self) -> dict[str, Json]:
        """Return the object that `--json` prints."""
        return {
            "study": self.name,
            "config": dict(self.config),
            "table": self.rows(),
            "cells": [record.to_json() for record in self.records],
        }
