"""DISTILL-CF: distil rows into a few synthetic users (paper section 4; design note 3)."""

import time
from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from perennial.memory.distill.item_blocks import BlockedOptimisation
from perennial.memory.distill.objective import NETWORK
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.problem import (
    RESIDENT_CELLS,
    DistillationProblem,
    padded_width,
    takes_blocks,
)
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, load_progress, outer_step, save_progress
from perennial.memory.distill.summary import DistillListener, DistillStep, Summary, ignore_steps
from perennial.memory.distill.top_k import keep_largest
from perennial.memory.distill.validation import BestSupport
from perennial.models.base import Holdout, TrainingRows
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.kernel import kernel_diagonal, kernel_values
from perennial.models.mesh import device_mesh, put_on_each, threads_for
from perennial.storage.base import derive_seed


class Optimisation(Protocol):
    """Parameters and optimiser state of a distillation."""

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Resume from a checkpoint of this problem, if there is one.

        The best support so far, the steps made, and the validations since the best one are
        returned.
        """

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write all that the next steps follow from; the file is replaced as a whole."""

    def load_users(self, step: int) -> None:
        """Load the users that batches are drawn from after `step` steps."""

    def step(self) -> None:
        """Make an outer step."""

    def validate(self, step: int) -> BestSupport:
        """Return the support as it would be stored after `step` steps, with its validation."""


class DenseOptimisation:
    """Arrays on the default device or the mesh, as wide as the number of items that occur."""

    def __init__(self, problem: DistillationProblem) -> None:
        self._problem = problem
        self._mesh = device_mesh()
        self._state = put_on_each(problem.initial_state(), self._mesh)
        self._users: DeviceUsers | None = None
        self._loss: Array | None = None

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Resume from a checkpoint; see `Optimisation`."""
        checkpoint = load_progress(path, self._problem.fingerprint(), self._state)
        if checkpoint is None:
            return None
        state, best, step, worse = checkpoint
        self._state = put_on_each(state, self._mesh)
        return best, step, worse

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write a checkpoint; see `Optimisation`."""
        save_progress(path, self._problem.fingerprint(), self._state, best, step, worse)

    def load_users(self, step: int) -> None:
        """Send real users to the device, unless all are there."""
        if self._users is None or self._problem.resident < self._problem.num_users:
            self._users = put_on_each(self._problem.draw_users(step), self._mesh)

    def step(self) -> None:
        """Make a compiled step."""
        assert self._users is not None  # noqa: S101 - `load_users` comes first
        self._state, self._loss = outer_step(
            self._state, self._users, self._problem.settings, self._mesh
        )

    def validate(self, step: int) -> BestSupport:
        """Validate the support as it would be stored; see `Optimisation`."""
        key = jax.random.fold_in(self._state.key, 1)
        support = _stored(self._state.parameters, key, self._problem.settings)
        validation, reg = self._problem.validator.validate(support)
        return BestSupport(
            support=np.asarray(support),
            step=step,
            validation=validation,
            reg=reg,
            loss=float("nan") if self._loss is None else float(self._loss),
        )


@partial(jax.jit, static_argnames="settings")
def _stored(parameters: Array, key: Array, settings: DistillSettings) -> Array:
    """Return the support of the parameters as it would be stored, `(μ, i)`."""
    support = PARAMETRISATIONS[settings.method].support(parameters, key, settings)
    kept = jnp.clip(keep_largest(support, settings.max_items), 0, 1)
    return (kept > 0).astype(kept.dtype) if settings.export == "hard" else kept


MAX_USERS = 32_768
"""Largest number of users that is not sampled: the targets take some 20 KiB for each."""

MAX_USERS_IN_BLOCKS = 65_536
"""Largest number in item blocks: a large catalogue needs more users to be covered."""

_VALIDATION_USERS = 2000
_VALIDATION_CELLS_IN_BLOCKS = 2**29
"""Scores of a validation in item blocks, where they are computed in small parts."""


def distill(
    rows: TrainingRows,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener = ignore_steps,
) -> Summary:
    """Distil rows into synthetic users, with a tenth of the interactions held out for validation.

    Every random draw derives from the seed; the same seed gives the same summary to the bit. The
    checkpoint is a file to resume from after an interruption; it is removed at the end.

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
    cells = _VALIDATION_CELLS_IN_BLOCKS if in_blocks else RESIDENT_CELLS
    max_users = max(64, min(_VALIDATION_USERS, cells // width))
    holdout = hold_out(chosen, derive_seed(seed, "validation"), max_users=max_users)
    return distill_with_holdout(
        holdout,
        settings,
        seed,
        checkpoint=checkpoint,
        listener=listener,
        users_given=rows.num_rows,
        in_blocks=in_blocks,
    )


def distill_with_holdout(
    holdout: Holdout,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener = ignore_steps,
    users_given: int | None = None,
    in_blocks: bool | None = None,
) -> Summary:
    """Distil `holdout.training`, and validate on the rest; all else is as in `distill`.

    `users_given` is the number of real users that the rows stand for, for the report. Where
    `in_blocks` is `None`, item blocks are chosen if they are faster.
    """
    started = time.perf_counter()
    problem = DistillationProblem.of(holdout, settings, seed, in_blocks)
    best, steps, interrupted = _run(problem, checkpoint, listener)
    training = holdout.training
    rows = sparse_rows(best.support, problem.items, training.num_items)
    if checkpoint is not None and not interrupted:
        checkpoint.unlink(missing_ok=True)
    report = {
        "steps": steps,
        "best_step": best.step,
        "validation": None if np.isnan(best.validation) else best.validation,
        "reg": best.reg,
        "loss": None if np.isnan(best.loss) else best.loss,
        "seconds": time.perf_counter() - started,
        "interrupted": interrupted,
        "users_given": training.num_rows if users_given is None else users_given,
        "users_used": training.num_rows,
        "items_used": len(problem.items),
        "interactions_used": int(training.interactions.nnz),
        "device": ", ".join(map(str, jax.local_devices())),
        "device_bytes": problem.device_bytes,
    }
    return Summary(rows, report)


def _run(
    problem: DistillationProblem, checkpoint: Path | None, listener: DistillListener
) -> tuple[BestSupport, int, bool]:
    """Make the steps; return the best support, the number of steps and whether Ctrl-C came."""
    settings = problem.settings
    optimisation: Optimisation
    optimisation = (BlockedOptimisation if problem.in_blocks else DenseOptimisation)(problem)
    resumed = None if checkpoint is None else optimisation.load(checkpoint)
    best, step, worse = resumed or (None, 0, 0)
    optimisation.load_users(step)
    try:
        if best is None:
            best = optimisation.validate(0)
            listener(DistillStep(0, settings.num_steps, None, best.validation))
        while step < settings.num_steps and worse < settings.patience:
            optimisation.step()
            step += 1
            if step % settings.validate_every and step < settings.num_steps:
                listener(DistillStep(step, settings.num_steps))
                continue
            newest = optimisation.validate(step)
            listener(DistillStep(step, settings.num_steps, newest.loss, newest.validation))
            is_better = not newest.validation <= best.validation
            best, worse = (newest, 0) if is_better else (best, worse + 1)
            if checkpoint is not None:
                optimisation.save(checkpoint, best, step, worse)
            optimisation.load_users(step)
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, step, True
    return best, step, False


def sparse_rows(
    support: NDArray[np.float32] | csr_array, items: NDArray[np.int64], num_items: int
) -> csr_array:
    """Convert a support into `(≤ μ, num_items)` float32 rows over the whole catalogue, none empty.

    The most useful rows come first, as by `order_by_usefulness`. The support is `(μ, i)`: a column
    for each of the items `(n,)`, ascending, and then padding.
    """
    narrow: csr_array = csr_array(support[:, : len(items)])
    narrow = narrow[np.flatnonzero(np.diff(narrow.indptr))]
    columns = items[narrow.indices].astype(np.int32)
    wide = csr_array((narrow.data, columns, narrow.indptr), shape=(narrow.shape[0], num_items))
    ordered: csr_array = wide[order_by_usefulness(wide)]
    return ordered


def order_by_usefulness(rows: csr_array) -> NDArray[np.int64]:
    """Order rows `(n, d)` in [0, 1] so that each is the one that those before it predict worst.

    That `(n,)` is the pivot order of a Cholesky factorisation of the kernel matrix, the greedy
    choice of rows for a Nyström approximation (Fine & Scheinberg, JMLR 2001): a prefix spans as
    much as so few rows can.
    """
    if rows.shape[0] < 2:
        return np.arange(rows.shape[0])
    inner = np.asarray((rows @ rows.T).toarray(), dtype=np.float32)
    squares = inner.diagonal().copy()
    gram = np.array(kernel_values(inner, squares, squares, rows.shape[1], NETWORK), np.float64)
    np.fill_diagonal(gram, np.asarray(kernel_diagonal(squares, rows.shape[1], NETWORK)))
    with threads_for(len(gram)):
        _, pivots, _, _ = lapack.dpstrf(gram)
    order: NDArray[np.int64] = pivots.astype(np.int64) - 1
    return order
