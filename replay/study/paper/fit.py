"""Computation of a cell: training rows, fit, test, and the file with the results."""

from pathlib import Path

from perennial.models.base import FitOptions
from perennial.models.registry import make_recipe
from perennial.replay.evaluate import evaluate
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.registry import make_metric
from perennial.replay.study.paper.cells import DISTILL, StudyCell, StudyContext
from perennial.replay.study.paper.records import CellRecord, MetricValue, write_record
from perennial.replay.study.paper.rows import read_rows, rows_path, split_holdout, with_made_rows
from perennial.storage.base import Progress, derive_seed
from perennial.stream.random_split import read_paper_split

METRICS = ("HR", "nDCG", "PSP", "AUC")
"""Metrics of every cell, each at all its cut-offs."""


def make_cell(
    context: StudyContext, cell: StudyCell, progress: Progress, *, memory_limit: int | None = None
) -> CellRecord:
    """Fit on the rows of a cell, test, and write its file.

    Rows that are sampled or distilled must be in their file; the fit may take `memory_limit` bytes.

    Raises:
        UserError: the split or the rows cannot be read, or the model cannot be fitted.
    """
    watch = Stopwatch(Clock())
    split = read_paper_split(Path(context.split), seed=cell.seed, keep_repeats=context.keep_repeats)
    holdout = split_holdout(split, cell.rows.noise, cell.seed)
    stored = None
    if cell.rows.is_made:
        stored = read_rows(rows_path(context, cell.rows, cell.seed))
        holdout = with_made_rows(holdout, stored.rows, synthetic=cell.rows.sampler == DISTILL)
    recipe = make_recipe(cell.model.name, cell.model.settings)
    seed = derive_seed(cell.seed, "paper fit", cell.model.name)
    options = FitOptions(seed=seed, memory_limit=memory_limit, progress=progress)
    with watch.stage("fit"):
        model = recipe.fit_with_holdout(holdout, holdout.training, options)
    with watch.stage("test"):
        metrics = [make_metric(name) for name in METRICS]
        results = evaluate(model, split.test, metrics, progress=progress)
    record = CellRecord(
        key=context.cell_key(cell),
        sampler=cell.rows.sampler,
        users=cell.rows.users,
        noise=cell.rows.noise.percent,
        num_rows=holdout.training.num_rows,
        num_interactions=int(holdout.training.interactions.nnz),
        model=cell.model,
        seed=cell.seed,
        values=tuple(MetricValue.of(one.metric, one.k, one.values) for one in results),
        seconds={"rows": 0.0 if stored is None else stored.seconds, **watch.stages},
        peak_bytes=watch.clock.peak_rss_bytes(),
        rows_peak_bytes=0 if stored is None else stored.peak_bytes,
        fit_report=dict(model.report),
        rows_report={} if stored is None else dict(stored.report),
        test_users=len(split.test.users),
        versions=context.versions,
        finished=watch.clock.now().isoformat(timespec="seconds"),
    )
    write_record(Path(context.folder), record)
    return record
