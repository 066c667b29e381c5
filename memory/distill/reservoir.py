"""A summary that grows without the log: a reservoir of smoothed rows of users.

Each user has one row, of the period in which they first occur, and all users so far are in the
summary with equal probability (reservoir sampling; Vitter, ACM TOMS 1985). No real row is kept: a
new one is mixed with its leave-one-out prediction by ∞-AE, fitted on the period and on the summary
so far, whose rows weigh as much as the users that they stand for. It is the start of a distillation
without its steps, which gain nothing where the rows are fitted beside real ones.
"""

import dataclasses
import time

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from perennial.memory.base import join_rows, replayed_rows, widen
from perennial.memory.distill.loop import MAX_USERS, order_by_usefulness
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import Summary
from perennial.memory.distill.targets import LeaveOneOutTargets
from perennial.models.base import TrainingRows
from perennial.storage.base import derive_seed

_BLOCK_CELLS = 2**24
"""Cells of dense rows that exist at a time."""


def extend_summary(
    before: Summary | None,
    rows: TrainingRows,
    is_new: NDArray[np.bool_],
    settings: DistillSettings,
    seed: int,
) -> Summary:
    """Return the summary after a period, made of the one before it and the period's rows.

    Args:
        before: summary of the earlier periods; its report has the number of users, `users_given`.
        rows: real users of the period.
        is_new: `(rows.num_rows,)`, users that no earlier period has.
        settings: μ, the most items of a row, `guide`, `guide_reg` and `start_scale` count.
        seed: every random draw derives from it.

    Returns:
        At most μ rows, and no more than there were users.
    """
    started = time.perf_counter()
    kept, stood_for = _rows_before(before, rows.interactions)
    new = np.flatnonzero(is_new & (np.diff(rows.interactions.indptr) > 0))
    generator = np.random.default_rng(derive_seed(seed, "reservoir"))
    size = min(settings.num_synthetic_users, stood_for + len(new))
    # Of a uniform sample of all users, so many are new.
    entering = int(generator.hypergeometric(len(new), stood_for, size)) if size else 0
    staying = min(size - entering, kept.shape[0])
    drawn = np.sort(generator.choice(new, entering, replace=False))
    stays = np.sort(generator.choice(kept.shape[0], staying, replace=False))
    smoothed = _smooth(rows, drawn, kept, stood_for, settings, seed)
    joined = csr_array(vstack([kept[stays], smoothed], format="csr"), dtype=np.float32)
    report = {
        "steps": 0,
        "best_step": 0,
        "validation": None,
        "reg": None,
        "loss": None,
        "seconds": time.perf_counter() - started,
        "interrupted": False,
        "users_given": stood_for + len(new),
        "users_used": min(rows.num_rows, MAX_USERS),
        "items_used": len(np.unique(rows.interactions.indices)),
        "interactions_used": int(rows.interactions.nnz),
        "device": ", ".join(map(str, jax.local_devices())),
        "device_bytes": 8 * joined.nnz,
    }
    return Summary(joined[order_by_usefulness(joined)], report)


def _rows_before(before: Summary | None, interactions: csr_array) -> tuple[csr_array, int]:
    """Return the rows of the earlier summary, widened, and the number of users they stand for."""
    if before is None or before.num_rows == 0:
        return interactions[:0], 0
    return widen(before.rows, interactions.shape[1]), int(
        before.report.get("users_given", before.num_rows)
    )


def _smooth(
    rows: TrainingRows,
    drawn: NDArray[np.int64],
    kept: csr_array,
    stood_for: int,
    settings: DistillSettings,
    seed: int,
) -> csr_array:
    """Return `(len(drawn), d)` rows of users by number, mixed with the guide's predictions."""
    if len(drawn) == 0:
        return rows.interactions[:0]
    others = np.setdiff1d(np.arange(rows.num_rows), drawn)
    if rows.num_rows > MAX_USERS:
        generator = np.random.default_rng(derive_seed(seed, "users"))
        others = np.sort(generator.choice(others, MAX_USERS - len(drawn), replace=False))
    seen = rows.take(np.concatenate([drawn, others]))
    if kept.shape[0]:
        count = kept.shape[0]
        periods = np.zeros(count, dtype=np.int32)
        seen = join_rows(seen, replayed_rows(kept, stood_for / count, periods))
    items = np.unique(seen.interactions.indices)
    narrow = dataclasses.replace(seen, interactions=seen.interactions[:, items])
    guide = LeaveOneOutTargets(
        narrow, settings.guide_reg, settings.guide, rows.num_items, derive_seed(seed, "guide")
    )
    block = max(1, _BLOCK_CELLS // len(items))
    parts = [
        _largest(np.clip(settings.start_scale * guide.dense(users), 0, 1), settings.max_items)
        for users in np.split(np.arange(len(drawn)), range(block, len(drawn), block))
    ]
    mixed = csr_array(vstack(parts, format="csr"))
    if settings.export == "hard":
        mixed.data[:] = 1
    columns = items[mixed.indices].astype(np.int32)
    shape = (len(drawn), rows.num_items)
    return csr_array((mixed.data, columns, mixed.indptr), shape=shape)


def _largest(rows: NDArray[np.float32], count: int | None) -> csr_array:
    """Return dense rows with all but the `count` largest entries of each at 0, sparse."""
    if count is not None and count < rows.shape[1]:
        places = np.argpartition(rows, -count, axis=1)[:, :-count]
        np.put_along_axis(rows, places, 0, axis=1)
    return csr_array(rows)
