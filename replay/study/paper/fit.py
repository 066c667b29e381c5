"""A cell made: rows, fit, test, and the file that says so."""

from pathlib import Path

from perennial.models.base import FitOptions, Holdout
from perennial.models.registry import make_recipe
from perennial.replay.evaluate import evaluate
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.registry import make_metric
from perennial.replay.study.paper.cells import DISTILL, StudyCell, StudyContext
from perennial.replay.study.paper.records import CellRecord, MetricValue, write_record
from perennial.replay.study.paper.rows import (
    StoredRows,
    judged_apart,
    judged_by_split,
    read_kept_rows,
    rows_path,
)
from perennial.storage.progress import Progress
from perennial.stream.random_split import RandomSplit, read_paper_split
from perennial.stream.seeds import derive_seed

METRICS = ("HR", "nDCG", "PSP", "AUC")
"""Taken of every cell, each at all its cut-offs."""


def make_cell(
    ground: StudyContext,
    cell: StudyCell,
    progress: Progress,
    *,
    memory_limit: int | None = None,
    clock: Clock | None = None,
) -> CellRecord:
    """Fit on the rows of a cell, test, and write its file.

    Args:
        ground: of the study.
        cell: which; rows that are made must lie in their file.
        progress: called with a few words as it goes on.
        memory_limit: bytes that the fit may take; `None` for no limit.
        clock: tells the time and the memory.

    Raises:
        UserError: the split or the rows cannot be read, or the model cannot be fitted.
    """
    watch = Stopwatch(clock or Clock())
    split = read_paper_split(Path(ground.split), seed=cell.seed, keep_repeats=ground.keep_repeats)
    held, kept = _lesson(ground, cell, split)
    recipe = make_recipe(cell.model.name, cell.model.settings)
    seed = derive_seed(cell.seed, "paper fit", cell.model.name)
    options = FitOptions(seed=seed, memory_limit=memory_limit, progress=progress)
    with watch.stage("fit"):
        model = recipe.fit_with_holdout(held, held.training, options)
    with watch.stage("test"):
        metrics = [make_metric(name) for name in METRICS]
        results = evaluate(model, split.test, metrics, progress=progress)
    record = CellRecord(
        key=ground.cell_key(cell),
        sampler=cell.rows.sampler,
        users=cell.rows.users,
        noise=cell.rows.noise.percent,
        num_rows=held.training.num_rows,
        num_interactions=int(held.training.interactions.nnz),
        model=cell.model,
        seed=cell.seed,
        values=tuple(MetricValue.of(one.metric, one.k, one.values) for one in results),
        seconds={"rows": 0.0 if kept is None else kept.seconds, **watch.stages},
        peak_bytes=watch.clock.peak_rss_bytes(),
        rows_peak_bytes=0 if kept is None else kept.peak_bytes,
        fit_report=dict(model.report),
        rows_report={} if kept is None else dict(kept.report),
        test_users=len(split.test.users),
        versions=ground.versions,
        finished=watch.clock.now().isoformat(timespec="seconds"),
    )
    write_record(Path(ground.folder), record)
    return record


def _lesson(
    ground: StudyContext, cell: StudyCell, split: RandomSplit
) -> tuple[Holdout, StoredRows | None]:
    """What the model is given, and where its rows came from a file, what is known of them."""
    held = judged_by_split(split, cell.rows.noise, cell.seed)
    if not cell.rows.is_made:
        return held, None
    kept = read_kept_rows(rows_path(ground, cell.rows, cell.seed))
    return judged_apart(held, kept.rows, synthetic=cell.rows.sampler == DISTILL), kept
