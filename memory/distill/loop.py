"""DISTILL-CF: a stretch of the log in a few synthetic users (paper section 4; design note 3)."""

import time
from pathlib import Path

import jax
import numpy as np

from perennial.memory.distill.blocked import BlockedOptimisation
from perennial.memory.distill.dense import DenseOptimisation, Optimisation
from perennial.memory.distill.export import sparse_rows
from perennial.memory.distill.problem import (
    RESIDENT_CELLS,
    DistillationProblem,
    padded_width,
    takes_blocks,
)
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillListener, DistillStep, Summary, ignore_steps
from perennial.memory.distill.validation import BestSupport
from perennial.models.base import Holdout, TrainingRows
from perennial.models.holdout import hold_out
from perennial.stream.seeds import derive_seed

MAX_USERS = 32_768
"""More users than these are sampled: the guide takes some 20 KiB for each."""

MAX_USERS_IN_BLOCKS = 65_536
"""The same for a catalogue that is worked on in item blocks: it takes more users to be seen."""

_JUDGED_USERS = 2000
_JUDGED_CELLS = 2**29
"""Scores of a validation in item blocks, where they are made in small parts."""


def distill(
    rows: TrainingRows,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener = ignore_steps,
) -> Summary:
    """Distil rows into synthetic users, holding out a tenth of the interactions to judge by.

    Args:
        rows: real users and, for a rolling summary, rows of earlier ones marked `replayed`.
        settings: how.
        seed: every random draw derives from it; the same seed gives the same summary to the bit.
        checkpoint: a file to go on from after a stop; removed at the end.
        listener: called after every step.

    Returns:
        At most μ rows, and no more than there are users. Ctrl-C ends the steps and gives the best
        support so far, with `interrupted` in the report.

    Raises:
        KeyboardInterrupt: Ctrl-C before there is anything to keep.
    """
    filled = np.flatnonzero(np.diff(rows.interactions.indptr))
    if len(filled) == 0:
        return Summary(rows.interactions[:0], {"steps": 0})
    occurring = int(np.count_nonzero(np.bincount(rows.interactions.indices)))
    in_blocks = takes_blocks(padded_width(occurring), len(filled), settings)
    most = MAX_USERS_IN_BLOCKS if in_blocks else MAX_USERS
    if len(filled) > most:
        generator = np.random.default_rng(derive_seed(seed, "users"))
        filled = np.sort(generator.choice(filled, most, replace=False))
    chosen = rows.take(filled)
    width = padded_width(len(np.unique(chosen.interactions.indices)))
    cells = _JUDGED_CELLS if in_blocks else RESIDENT_CELLS
    judged = max(64, min(_JUDGED_USERS, cells // width))
    held = hold_out(chosen, derive_seed(seed, "validation"), max_users=judged)
    return distill_judged(
        held,
        settings,
        seed,
        checkpoint=checkpoint,
        listener=listener,
        users_given=round(rows.weights.sum()),
        in_blocks=in_blocks,
    )


def distill_judged(
    held: Holdout,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener = ignore_steps,
    users_given: int | None = None,
    in_blocks: bool | None = None,
) -> Summary:
    """Distil with a given hold-out, as the paper's fixed split has it; see `distill`.

    Args:
        held: whom to distil, `held.training`, and who is judged by what.
        settings: how.
        seed: every random draw derives from it.
        checkpoint: a file to go on from after a stop.
        listener: called after every step.
        users_given: how many real users the rows stand for; for the report.
        in_blocks: whether to work in item blocks; what is faster if `None`.
    """
    started = time.perf_counter()
    task = DistillationProblem.of(held, settings, seed, in_blocks)
    best, steps, interrupted = _run(task, checkpoint, listener)
    rows = sparse_rows(best.support, task.items, held.training.num_items)
    if checkpoint is not None and not interrupted:
        checkpoint.unlink(missing_ok=True)
    num_rows = held.training.num_rows
    report = {
        "steps": steps,
        "best_step": best.step,
        "validation": None if np.isnan(best.validation) else best.validation,
        "reg": best.reg,
        "loss": None if np.isnan(best.loss) else best.loss,
        "seconds": time.perf_counter() - started,
        "interrupted": interrupted,
        "users_given": num_rows if users_given is None else users_given,
        "users_used": num_rows,
        "items_used": len(task.items),
        "interactions_used": int(held.training.interactions.nnz),
        "device": ", ".join(map(str, jax.local_devices())),
        "device_bytes": task.device_bytes,
    }
    return Summary(rows, report)


def _run(
    task: DistillationProblem, checkpoint: Path | None, listener: DistillListener
) -> tuple[BestSupport, int, bool]:
    """Make the steps; the best support, how many steps were made, whether they were cut short."""
    settings = task.settings
    work: Optimisation = BlockedOptimisation(task) if task.in_blocks else DenseOptimisation(task)
    found = None if checkpoint is None else work.load(checkpoint)
    best, step, worse = (None, 0, 0) if found is None else found
    work.meet(step)
    try:
        if best is None:
            best = work.judge(0)
            listener(DistillStep(0, settings.num_steps, None, best.validation))
        while step < settings.num_steps and worse < settings.patience:
            work.advance()
            step += 1
            if step % settings.validate_every and step < settings.num_steps:
                listener(DistillStep(step, settings.num_steps))
                continue
            judged = work.judge(step)
            listener(DistillStep(step, settings.num_steps, judged.loss, judged.validation))
            better = not judged.validation <= best.validation
            best, worse = (judged, 0) if better else (best, worse + 1)
            if checkpoint is not None:
                work.save(checkpoint, best, step, worse)
            work.meet(step)
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, step, True
    return best, step, False
