"""The memory that a fit is expected to take, against what it takes, and what follows from it."""

import tracemalloc

import numpy as np
import pytest
from model_rows import rows_of
from scipy.sparse import csr_array, random_array

from perennial.models.base import FitOptions
from perennial.models.infinite_ae.memory_estimate import (
    FitSizes,
    choose_dtype,
    estimate_bytes,
    sizes_of,
)
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.pop import Pop
from perennial.models.scoring import SCORE_ROWS, score_rows


@pytest.mark.parametrize(
    ("num_rows", "num_items", "num_taught", "centres", "most"),
    [
        (3000, 60, 0, None, 3),
        (300, 30_000, 0, None, 3),
        (1200, 60, 240, None, 4),
        (200, 20_000, 40, None, 4),
        (6000, 60, 0, 800, 3),
        (1500, 20_000, 0, 300, 3),
    ],
)
def test_a_fit_stays_within_its_estimate(num_rows, num_items, num_taught, centres, most):
    shape, generator = (num_rows, num_items), np.random.default_rng(0)
    drawn = random_array(shape, density=8 / num_items, rng=generator)
    replayed, known = np.arange(num_rows) >= num_rows - num_taught, int(0.9 * num_items)
    row, item = drawn.coords
    kept = ~replayed[row] | (item < known)
    entries = np.ones(kept.sum(), np.float32), (row[kept], item[kept])
    rows = rows_of(csr_array(entries, shape=shape), replayed=replayed)
    if num_taught:
        teacher = Pop().fit(rows_of(rows.interactions[:, :known]), FitOptions(seed=0))
        rows = rows_of(rows.interactions, replayed=replayed, teacher=teacher)
    recipe = InfiniteAE(regs=(5.0, 50.0), validation_users=500, centres=centres)
    sizes = sizes_of(rows.interactions, rows.weights, 500, "auto", 5.0, num_taught, centres)
    tracemalloc.start()
    try:
        model = recipe.fit(rows, FitOptions(seed=0))
        next(model.score_blocks(rows.interactions[:1024], 1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= estimate_bytes(sizes, num_rows) <= most * peak
    assert model.report["bytes_estimated"] == estimate_bytes(sizes, num_rows)


def test_many_items_are_scored_for_fewer_rows_at_a_time():
    assert [score_rows(items) for items in (0, 1, 2**17)] == [SCORE_ROWS] * 3
    assert (score_rows(1_000_000), score_rows(2**40)) == (134, 1)
    entries = FitSizes(50_500, 1_000_000, 3_000_000, 100, 2000, "float32", 1.0, 1.0)
    # The kernel of a period and its summary takes 10 GB of it.
    assert estimate_bytes(entries, 50_500) < 16 << 30


def test_single_precision_is_taken_only_where_the_condition_is_known_to_be_mild():
    assert choose_dtype("auto", 6_000, 1.0, 1.0) == np.float32
    assert choose_dtype("auto", 6_000, 1.0, 1e-2) == np.float64
    assert choose_dtype("auto", 6_000, 100.0, 1.0) == np.float64
    assert choose_dtype("float32", 10**6, 1.0, 1e-6) == np.float32
