"""A small split in a file, and made-up cells, for the tests of the paper's studies."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyContext
from perennial.replay.study.paper.records import CellRecord, MetricValue
from perennial.replay.study.paper.report import StudyResults
from perennial.replay.study.paper.split import OpenSplit

FAST = {"infinite-ae": {"regs": (1.0, 20.0)}}
"""Settings with which a fit takes no time."""


def write_split(path: Path, num_users: int = 40, num_items: int = 30, seed: int = 0) -> Path:
    """Users of two tastes with twelve items each: nine in train, one in validation, two in test."""
    generator = np.random.default_rng(seed)
    users, items = [], []
    for user in range(num_users):
        likes = np.where(np.arange(num_items) % 2 == user % 2, 8.0, 1.0)
        likes /= np.arange(2, num_items + 2)
        drawn = generator.choice(num_items, 12, replace=False, p=likes / likes.sum())
        users += [user] * 12
        items += drawn.tolist()
    parts = (["train"] * 9 + ["validation"] + ["test"] * 2) * num_users
    pq.write_table(pa.table({"user_id": users, "item_id": items, "split": parts}), path)
    return path


def make_context(split: Path, folder: Path, **changes: Any) -> StudyContext:
    """Make the context of a test's cells."""
    given = {"content": "0" * 64, "keep_repeats": False, "versions": {"code": "toys"}}
    return StudyContext(str(split), folder=str(folder), **{**given, **changes})


def make_record(sampler="all-users", users=None, model="mvae", seed=0, **changes):
    """A cell whose figures are 10 and its seed, but for those given as `HR=12.0`."""
    figures = {("HR", 10): 10.0, ("HR", 100): 50.0, ("nDCG", 10): 9.0, ("nDCG", 100): 20.0}
    figures |= {("PSP", 10): 2.0, ("AUC", None): 0.9}
    if "HR" in changes:
        figures["HR", 10] = changes.pop("HR")
    given: dict[str, Any] = {
        "noise": 0.0,
        "key": f"{sampler}-{users}-{model}-{seed}",
        "num_rows": 1000 if users is None else users,
        "num_interactions": 5000,
        "values": tuple(
            MetricValue(metric, k, value + (0.0 if metric == "AUC" else seed), 0.25)
            for (metric, k), value in figures.items()
        ),
        "seconds": {"rows": 0.0 if users is None else 60.0, "fit": 2.0 + seed, "test": 1.0},
        "peak_bytes": 2**30,
        "rows_peak_bytes": 0 if users is None else 2**31,
        "fit_report": {"reg": 5.0, "validation": {"5": 50.0, "20": 49.0}},
        "rows_report": {},
        "test_users": 100,
        "versions": {"perennial": "0.1.0"},
        "finished": "2025-01-01T00:00:00",
        **changes,
    }
    return CellRecord(sampler=sampler, users=users, model=ModelChoice(model), seed=seed, **given)


def make_results(name, study, records, *, paper="ml-1m", source="ml-1m") -> StudyResults:
    """A study of made-up cells."""
    split = OpenSplit(
        Path("s.parquet"), "0" * 64, source, paper, "as it is", 1000, 50, (9000, 1000, 1000)
    )
    config = {"source": source, "seeds": [0, 1]}
    return StudyResults(name, study, split, config, tuple(records))
