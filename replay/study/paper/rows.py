"""Rows that are made of a split once, synthetic or sampled, and kept for every model and study."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.base import Holdout, TrainingRows
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.study.paper.cells import DISTILL, StudyContext, TrainingSet
from perennial.storage.errors import UserError
from perennial.storage.progress import Progress
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
from perennial.stream.seeds import derive_seed


def judged_by_split(split: RandomSplit, noise: Noise | None = None, seed: int = 0) -> Holdout:
    """All users of train, with the split's validation interactions as the answers.

    Args:
        split: the log.
        noise: in the rows of train, which are fitted on and the contexts of validation; answers
            that it puts there are left out, and users who are left without one.
        seed: of the noise.
    """
    rows, asked = TrainingRows.of_users(split.train), split.validation
    users, targets = asked.users.astype(np.int64), asked.targets[:, : rows.num_items]
    if noise is None or noise.percent == 0:
        return Holdout(rows, users, targets)
    noisy = add_noise(rows.interactions, noise, derive_seed(seed, "paper noise"))
    targets = binary(targets - targets.multiply(noisy[users]))
    left = np.flatnonzero(np.diff(targets.indptr))
    return Holdout(replace(rows, interactions=noisy), users[left], targets[left])


def judged_apart(held: Holdout, rows: csr_array, *, synthetic: bool) -> Holdout:
    """Other rows to be fitted on, with the same people to choose by.

    Args:
        held: of all users.
        rows: `(n, num_items)` float32, values in [0, 1].
        synthetic: whether they are nobody's, so that none of them could be held out.
    """
    count = rows.shape[0]
    marks: NDArray[np.bool_] = np.full(count, synthetic)
    training = TrainingRows(rows, np.ones(count), marks, np.ones(count, dtype=np.int32))
    return Holdout(training, held.users, held.targets, external_contexts=held.contexts)


Json = Any
"""What `json.dumps` takes."""

FOLDER = "rows"
"""Where the files lie in a study's folder."""


@dataclass(frozen=True)
class StoredRows:
    """Rows from their file.

    Attributes:
        rows: `(n, num_items)` float32, values in (0, 1].
        seconds: that making them took.
        peak_bytes: largest size of the process that made them.
        report: how they were made.
    """

    rows: csr_array
    seconds: float
    peak_bytes: int
    report: Mapping[str, Json]


def rows_path(ground: StudyContext, rows: TrainingSet, seed: int) -> Path:
    """The file of rows that are made."""
    return Path(ground.folder) / FOLDER / f"{ground.rows_key(rows, seed)}{SUFFIX}"


def make_rows(
    ground: StudyContext,
    rows: TrainingSet,
    seed: int,
    progress: Progress,
    clock: Clock | None = None,
) -> Path:
    """Distil or sample, and write the file whole or not at all.

    Args:
        ground: of the study.
        rows: which.
        seed: every draw derives from it.
        progress: called with a few words as it goes on.
        clock: tells the time and the memory.

    Raises:
        UserError: the split cannot be read, or the file cannot be written.
        KeyboardInterrupt: Ctrl-C; nothing is kept.
    """
    clock = clock or Clock()
    held = judged_by_split(read_paper_split(Path(ground.split)), rows.noise, seed)
    watch = Stopwatch(clock)
    with watch.stage("rows"):
        made, report = _make(held, rows, derive_seed(seed, "paper rows", rows.sampler), progress)
    manifest = {
        "num_items": int(made.shape[1]),
        "rows": rows.describe(),
        "seed": seed,
        "seconds": watch.stages["rows"],
        "peak_bytes": clock.peak_rss_bytes(),
        "report": report,
    }
    path = rows_path(ground, rows, seed)
    return save_arrays(path.parent, path.name.removesuffix(SUFFIX), csr_to_arrays(made), manifest)


def read_kept_rows(path: Path) -> StoredRows:
    """Read what `make_rows` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays, manifest = load_arrays(path)
    try:
        rows = csr_from_arrays(arrays, int(manifest["num_items"]))
        return StoredRows(rows, manifest["seconds"], manifest["peak_bytes"], manifest["report"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: does not hold rows ({error}); delete it") from None


def _make(
    held: Holdout, rows: TrainingSet, seed: int, progress: Progress
) -> tuple[csr_array, dict[str, Json]]:
    """The rows, and how they came about."""
    if rows.sampler == DISTILL:
        # Most samplers do without JAX, which takes longer to import than they to draw.
        from perennial.memory.distill.loop import distill_judged
        from perennial.memory.distill.summary import report_steps

        summary = distill_judged(
            held, rows.distillation(), seed, listener=report_steps(progress, "distilling")
        )
        if summary.report["interrupted"]:
            # It gives what it has; kept under this key, that would pass for the whole.
            raise KeyboardInterrupt
        return summary.rows, {k: v for k, v in summary.report.items() if k != "seconds"}
    assert rows.users is not None  # noqa: S101 - a sampler is asked for so many
    progress(f"sampling {rows.users:,} users")
    sample = SAMPLERS.load(rows.sampler)(held.training.interactions, rows.users, seed)
    return sample.rows.astype(np.float32), {"interactions": int(sample.rows.nnz)}
