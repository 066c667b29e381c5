"""Batches of replayed rows with the previous model's expectation of them, for ADER."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array

from perennial.models.base import FittedModel, TrainingRows
from perennial.models.mvae.network import TeacherBatch
from perennial.models.scoring import score_replayed
from perennial.models.training.batches import (
    assemble,
    draw_row_numbers,
    pad_items,
    pad_rows,
    usual_entries,
)


def draw_teacher_batches(
    rows: TrainingRows, batch_size: int, seed: int
) -> Iterator[TeacherBatch] | None:
    """Yield endless batches: about one pass over the replayed rows per pass over the others.

    Args:
        rows: training rows; the replayed ones are distilled from `rows.teacher`.
        batch_size: new rows per update.
        seed: seed of the order.

    Returns:
        `None` without a teacher, replayed rows or new rows.
    """
    replayed = np.flatnonzero(rows.replayed)
    num_new = rows.num_rows - len(replayed)
    if rows.teacher is None or not len(replayed) or not num_new:
        return None
    share = len(replayed) / num_new
    size = min(batch_size, len(replayed), max(1, round(min(batch_size, num_new) * share)))
    # The loss is a mean over the new rows plus this much of the mean over the replayed ones.
    strength = rows.weights[replayed].sum() / rows.weights[~rows.replayed].sum()
    order = np.random.default_rng(seed)
    return _draw(rows.interactions[replayed], rows.teacher, size, float(strength), order)


def _draw(
    matrix: csr_array, teacher: FittedModel, size: int, strength: float, order: np.random.Generator
) -> Iterator[TeacherBatch]:
    usual = usual_entries(matrix, size)
    weights = np.full(matrix.shape[0], strength, dtype=np.float32)
    height, width = pad_rows(size), pad_items(matrix.shape[1])
    for numbers in draw_row_numbers(matrix.shape[0], size, order):
        expected = np.zeros((height, width), dtype=np.float32)
        rows = matrix[numbers]
        # Computed anew each time: kept, they would take as much as a dense log of the past.
        scores = score_replayed(teacher, rows)
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        sums = np.asarray(rows.sum(axis=1)).reshape(-1, 1)
        expected[:size, : teacher.num_items] = sums * likely / likely.sum(axis=1, keepdims=True)
        yield TeacherBatch(
            batch=assemble(matrix, numbers, height, weights, usual),
            expected=jnp.asarray(expected),
            num_known=jnp.asarray(teacher.num_items, jnp.int32),
        )
