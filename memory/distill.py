"""DISTILL-CF: a stretch of the log in a few synthetic users (paper section 4; design note 3)."""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from memory.checkpoint import load_progress, save_progress
from memory.export import sparse_rows, stored_form
from memory.guide import Guide
from memory.judge import Best, Judge
from memory.listener import DistillListener, SilentListener
from memory.outer_step import State, Users, outer_step, start_state
from memory.parametrisation import PARAMETRISATIONS
from memory.settings import DistillSettings
from memory.summary import Summary
from models.protocol import TrainingRows
from models.validation import HoldOut, hold_out
from stream.seeds import derive_seed

MAX_USERS = 8192
"""More users than these are sampled: the guide is quadratic in them."""

_RESIDENT_CELLS = 2**26
"""Cells of real users' rows kept on the device, and as many of their targets: 256 MiB each."""

_JUDGED_USERS = 2000
_WIDTH_STEP = 512
"""Columns are padded to a multiple of this, so that few widths are compiled."""


def distill(
    rows: TrainingRows,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener | None = None,
) -> Summary:
    """Distil rows into synthetic users, holding out a tenth of the interactions to judge by.

    Args:
        rows: real users and, for a rolling summary, rows of earlier ones marked `replayed`.
        settings: how.
        seed: every random draw derives from it; the same seed gives the same summary to the bit.
        checkpoint: a file to go on from after a stop; removed at the end.
        listener: told of every step.

    Returns:
        At most μ rows, and no more than there are users. Ctrl-C ends the steps and gives the best
        support so far, with `interrupted` in the report.

    Raises:
        KeyboardInterrupt: Ctrl-C before there is anything to keep.
    """
    filled = np.flatnonzero(np.diff(rows.interactions.indptr))
    if len(filled) == 0:
        return Summary(csr_array((0, rows.num_items), dtype=np.float32), {"steps": 0})
    if len(filled) > MAX_USERS:
        generator = np.random.default_rng(derive_seed(seed, "users"))
        filled = np.sort(generator.choice(filled, MAX_USERS, replace=False))
    chosen = rows.take(filled)
    width = _padded(len(np.unique(chosen.interactions.indices)))
    judged = max(64, min(_JUDGED_USERS, _RESIDENT_CELLS // width))
    held = hold_out(chosen, derive_seed(seed, "validation"), max_users=judged)
    return distill_judged(
        held,
        settings,
        seed,
        checkpoint=checkpoint,
        listener=listener,
        users_given=round(rows.weights.sum()),
    )


def distill_judged(
    held: HoldOut,
    settings: DistillSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    listener: DistillListener | None = None,
    users_given: int | None = None,
) -> Summary:
    """Distil with a given hold-out, as the paper's fixed split has it; see `distill`.

    Args:
        held: whom to distil, `held.training`, and who is judged by what.
        settings: how.
        seed: every random draw derives from it.
        checkpoint: a file to go on from after a stop.
        listener: told of every step.
        users_given: how many real users the rows stand for; for the report.
    """
    started = time.perf_counter()
    task = _Task.of(held, settings, seed)
    best, steps, interrupted = _run(task, checkpoint, listener or SilentListener())
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
        "device": str(jax.devices()[0]),
        "device_bytes": task.device_bytes,
    }
    return Summary(rows, report)


@dataclass(frozen=True)
class _Task:
    """What a distillation works on: the columns that occur, padded, and whom it draws.

    Attributes:
        settings: how.
        seed: of all draws.
        held: as given.
        items: `(n,)` int64 ascending, the items that occur.
        narrow: `(users, n)` the rows over these items.
        width: columns with padding.
        judge: of supports.
        guide: of targets.
        draw: makes the users that are resident from a round on.
        rounds: how many steps the same users stay; all of them if all fit.
        fingerprint: of everything that the result follows from.
    """

    settings: DistillSettings
    seed: int
    held: HoldOut
    items: NDArray[np.int64]
    narrow: csr_array
    width: int
    judge: Judge
    guide: Guide

    @classmethod
    def of(cls, held: HoldOut, settings: DistillSettings, seed: int) -> "_Task":
        training = held.training
        asked = np.union1d(training.interactions.indices, held.targets.indices)
        items = asked.astype(np.int64)
        narrow = training.interactions[:, items]
        narrow_rows = dataclasses.replace(training, interactions=narrow)
        small = HoldOut(narrow_rows, held.users, held.targets[:, items])
        judge = Judge(small, training.num_items, settings.regs, derive_seed(seed, "ties"))
        guide = Guide(
            narrow_rows,
            settings.guide_reg,
            settings.guide,
            training.num_items,
            derive_seed(seed, "guide"),
        )
        return cls(settings, seed, held, items, narrow, _padded(len(items)), judge, guide)

    @property
    def num_users(self) -> int:
        """Real users."""
        return self.held.training.num_rows

    @property
    def num_synthetic_users(self) -> int:
        """μ, and where there are fewer users a round number of them: few shapes are compiled."""
        if self.num_users >= self.settings.num_synthetic_users:
            return self.settings.num_synthetic_users
        return max(self.num_users // 64 * 64, min(self.num_users, 64))

    @property
    def batch(self) -> int:
        """Users in a step: the batch asked for, or a power of two that all users fit in."""
        return min(self.settings.batch_size, 1 << (self.num_users - 1).bit_length())

    @property
    def resident(self) -> int:
        """Users on the device at a time, a multiple of the batch."""
        fitting = max(1, _RESIDENT_CELLS // self.width // self.batch)
        needed = -(-self.num_users // self.batch)
        return self.batch * min(fitting, needed)

    @property
    def device_bytes(self) -> int:
        """Parameters, two moments, gradient and support, and twice the resident users."""
        return 4 * self.width * (5 * self.num_synthetic_users + 2 * self.resident)

    @property
    def all_fit(self) -> bool:
        """Whether every user is resident, so that they never change."""
        return self.resident >= self.num_users

    def fingerprint(self) -> str:
        """Of everything that the result follows from."""
        digest = hashlib.blake2b(digest_size=20)
        settings = dataclasses.asdict(self.settings)
        text = json.dumps([settings, self.seed, self.held.training.num_items])
        digest.update(text.encode())
        for matrix in (self.held.training.interactions, self.held.targets):
            for part in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def users(self, step: int) -> Users:
        """The users that are resident from `step` on; drawn by seed, some twice to fill up."""
        generator = np.random.default_rng(derive_seed(self.seed, "resident", step))
        order = generator.permutation(self.num_users)
        drawn = np.resize(order, self.resident)
        is_item = np.arange(self.width) < len(self.items)
        return Users(
            rows=self._on_device(self.narrow[drawn].toarray()),
            targets=self._on_device(self.guide.targets(drawn)),
            weights=jnp.asarray(self.held.training.weights[drawn], jnp.float32),
            is_item=jnp.asarray(is_item),
            num_items=jnp.float32(self.held.training.num_items),
            row_sum=jnp.float32(max(self.narrow.sum(axis=1).mean(), 1e-6)),
        )

    def start(self) -> State:
        """The state before the first step, from real users drawn by seed."""
        generator = np.random.default_rng(derive_seed(self.seed, "start"))
        weights = self.held.training.weights
        drawn = generator.choice(
            self.num_users, self.num_synthetic_users, replace=False, p=weights / weights.sum()
        )
        rows = self._on_device(self.narrow[drawn].toarray())
        targets = self._on_device(self.guide.targets(drawn))
        method = PARAMETRISATIONS[self.settings.method]
        key = jax.random.key(derive_seed(self.seed, "steps") % 2**32)
        replayed = jnp.asarray(self.held.training.replayed[drawn])[:, None]
        # A row that was learnt goes on from where it is.
        parameters = jnp.where(replayed, rows, method.start(rows, targets, self.settings))
        return start_state(parameters, self.settings, key)

    def _on_device(self, dense: NDArray[np.float32]) -> Array:
        padded = np.zeros((len(dense), self.width), dtype=np.float32)
        padded[:, : dense.shape[1]] = dense
        return jnp.asarray(padded)


def _run(task: _Task, checkpoint: Path | None, listener: DistillListener) -> tuple[Best, int, bool]:
    """Make the steps; the best support, how many steps were made, whether they were cut short."""
    settings = task.settings
    state, best, step, worse = _begin(task, checkpoint)
    listener.started(settings.num_steps)
    users, loss = task.users(step), None
    try:
        if best is None:
            best = _judge(task, state, 0, None)
            listener.step(0, None, best.validation)
        while step < settings.num_steps and worse < settings.patience:
            state, loss = outer_step(state, users, settings)
            step += 1
            if step % settings.validate_every and step < settings.num_steps:
                listener.step(step, None, None)
                continue
            found = _judge(task, state, step, loss)
            listener.step(step, found.loss, found.validation)
            better = not found.validation <= best.validation
            best, worse = (found, 0) if better else (best, worse + 1)
            if checkpoint is not None:
                save_progress(checkpoint, task.fingerprint(), state, best, step, worse)
            if not task.all_fit:
                users = task.users(step)
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, step, True
    return best, step, False


def _begin(task: _Task, checkpoint: Path | None) -> tuple[State, Best | None, int, int]:
    """Where an earlier try stopped, or the start."""
    state = task.start()
    if checkpoint is not None:
        found = load_progress(checkpoint, task.fingerprint(), state)
        if found is not None:
            return found
    return state, None, 0, 0


def _judge(task: _Task, state: State, step: int, loss: Array | None) -> Best:
    support = _stored(state.parameters, jax.random.fold_in(state.key, 1), task.settings)
    validation, reg = task.judge.judge(support)
    return Best(
        support=np.asarray(support),
        step=step,
        validation=validation,
        reg=reg,
        loss=float("nan") if loss is None else float(loss),
    )


@partial(jax.jit, static_argnames="settings")
def _stored(parameters: Array, key: Array, settings: DistillSettings) -> Array:
    """The support that parameters stand for, as it would be stored."""
    support = PARAMETRISATIONS[settings.method].support(parameters, key, settings)
    return stored_form(support, settings.max_items, settings.export)


def _padded(width: int) -> int:
    return _WIDTH_STEP * max(1, -(-width // _WIDTH_STEP))
