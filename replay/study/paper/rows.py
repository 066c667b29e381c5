"""Training rows of cells; sampled and distilled ones are stored for all models and studies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import Holdout, TrainingRows
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.study.paper.cells import DISTILL, StudyContext, TrainingSet
from perennial.storage.base import Json, Progress, derive_seed
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import (
    SUFFIX,
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    save_arrays,
)
from perennial.stream.evaluation import binary
from perennial.stream.noise import Noise, add_noise
from perennial.stream.random_split import RandomSplit, read_paper_split

FOLDER = "rows"
"""Subfolder of a study's folder with the files."""


@dataclass(frozen=True)
class StoredRows:
    """Sampled or distilled rows from their file, `(n, num_items)` float32 in (0, 1]."""

    rows: csr_array
    seconds: float
    peak_bytes: int
    report: Mapping[str, Json]


def split_holdout(split: RandomSplit, noise: Noise | None = None, seed: int = 0) -> Holdout:
    """Return all training rows, with the split's validation interactions as the targets.

    Noise is added to the training rows, which are also the contexts of validation; targets that it
    adds to a row are left out, and users without any other.
    """
    rows, validation = TrainingRows.of_users(split.train), split.validation
    users, targets = validation.users.astype(np.int64), validation.targets[:, : rows.num_items]
    if noise is None or noise.percent == 0:
        return Holdout(rows, users, targets)
    noisy = add_noise(rows.interactions, noise, derive_seed(seed, "paper noise"))
    targets = binary(targets - targets.multiply(noisy[users]))
    left = np.flatnonzero(np.diff(targets.indptr))
    return Holdout(replace(rows, interactions=noisy), users[left], targets[left])


def with_made_rows(holdout: Holdout, rows: csr_array, *, synthetic: bool) -> Holdout:
    """Replace the training rows; the users of validation and their contexts stay.

    The rows are `(n, num_items)` float32 in [0, 1]. `synthetic`: of no real user, so that none of
    them may be held out.
    """
    count = rows.shape[0]
    marks: NDArray[np.bool_] = np.full(count, synthetic)
    training = TrainingRows(rows, np.ones(count), marks, np.ones(count, dtype=np.int32))
    return Holdout(training, holdout.users, holdout.targets, external_contexts=holdout.contexts)


def rows_path(context: StudyContext, rows: TrainingSet, seed: int) -> Path:
    """Return the file of sampled or distilled rows."""
    return Path(context.folder) / FOLDER / f"{context.rows_key(rows, seed)}{SUFFIX}"


def make_rows(context: StudyContext, rows: TrainingSet, seed: int, progress: Progress) -> Path:
    """Sample or distil rows, and write their file whole, or not at all after Ctrl-C."""
    holdout = split_holdout(read_paper_split(Path(context.split)), rows.noise, seed)
    watch = Stopwatch(Clock())
    with watch.stage("rows"):
        made, report = _make(holdout, rows, derive_seed(seed, "paper rows", rows.sampler), progress)
    manifest = {
        "num_items": int(made.shape[1]),
        "rows": rows.describe(),
        "seed": seed,
        "seconds": watch.stages["rows"],
        "peak_bytes": watch.clock.peak_rss_bytes(),
        "report": report,
    }
    path = rows_path(context, rows, seed)
    return save_arrays(path.parent, path.name.removesuffix(SUFFIX), csr_to_arrays(made), manifest)


def read_rows(path: Path) -> StoredRows:
    """Read the file of `make_rows`; raise `UserError` if it is missing or damaged."""
    arrays, manifest = load_arrays(path)
    try:
        rows = csr_from_arrays(arrays, int(manifest["num_items"]))
        return StoredRows(rows, manifest["seconds"], manifest["peak_bytes"], manifest["report"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: does not hold rows ({error}); delete it") from None


def _make(
    holdout: Holdout, rows: TrainingSet, seed: int, progress: Progress
) -> tuple[csr_array, dict[str, Json]]:
    """Return sampled or distilled rows with a report."""
    if rows.sampler == DISTILL:
        # Most samplers do without JAX, which takes longer to import than they to draw.
        from perennial.memory.distill.loop import distill_with_holdout
        from perennial.memory.distill.summary import report_steps

        listener = report_steps(progress, "distilling")
        summary = distill_with_holdout(holdout, rows.distillation(), seed, listener=listener)
        if summary.report["interrupted"]:
            # An incomplete summary stored under this key would pass for the complete one.
            raise KeyboardInterrupt
        return summary.rows, {k: v for k, v in summary.report.items() if k != "seconds"}
    assert rows.users is not None  # noqa: S101
    progress(f"sampling {rows.users:,} users")
    sample = SAMPLERS.load(rows.sampler)(holdout.training.interactions, rows.users, seed)
    return sample.rows.astype(np.float32), {"interactions": int(sample.rows.nnz)}
