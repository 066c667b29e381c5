"""Estimate of the memory of an ∞-AE fit, before anything is allocated."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.infinite_ae.gram import TILE
from perennial.models.infinite_ae.row_blocks import popular_items
from perennial.models.scoring import SCORE_ROWS, score_rows
from perennial.models.solver import inverse_rows_bytes
from perennial.storage.errors import MemoryLimitExceeded

Precision = Literal["auto", "float32", "float64"]
"""Dtype of the kernel matrix and its factor."""


FEWEST_ROWS = 10
"""A lower cap of the rows is refused."""

_FLOAT32_CONDITION = 500_000.0


@dataclass(frozen=True)
class FitSizes:
    """Sizes that determine the memory of a fit.

    Attributes:
        num_rows: n of the rows given; `num_items` is d, and `num_entries` their non-zeros.
        num_popular: columns that are kept dense.
        validation_rows: largest number of validation rows; `None` means all, 0 that λ is given.
        smallest_reg: the smallest λ that is factorised.
        largest_weight: of a row.
        num_taught: rows that are fitted to a teacher's scores.
        num_centres: m; `None` where K is n × n.
    """

    num_rows: int
    num_items: int
    num_entries: int
    num_popular: int
    validation_rows: int | None
    precision: Precision
    smallest_reg: float
    largest_weight: float
    num_taught: int = 0
    num_centres: int | None = None


def sizes_of(
    rows: csr_array,
    weights: NDArray[np.float64],
    validation_rows: int | None,
    precision: Precision,
    smallest_reg: float,
    num_taught: int = 0,
    num_centres: int | None = None,
) -> FitSizes:
    """Return the sizes of a fit on rows `(num_rows, num_items)`."""
    return FitSizes(
        num_rows=rows.shape[0],
        num_items=rows.shape[1],
        num_entries=rows.nnz,
        num_popular=len(popular_items(rows)),
        validation_rows=validation_rows,
        precision=precision,
        smallest_reg=smallest_reg,
        largest_weight=float(weights.max(initial=1.0)),
        num_taught=num_taught,
        num_centres=num_centres,
    )


def choose_dtype(
    precision: Precision, num_rows: int, largest_weight: float, smallest_reg: float
) -> np.dtype[Any]:
    """Choose single precision where it loses nothing.

    K's largest eigenvalue is at most its trace, so the condition number of K + λ tr(K)/n W⁻¹ is at
    most about n w/λ. Up to 600,000 (ML-1M) and 690,000 (a DIGINETICA period) single precision was
    measured to give the HR@100 of double to 0.001 points. `smallest_reg` is the smallest λ that is
    factorised.
    """
    if precision != "auto":
        return np.dtype(precision)
    single = num_rows * largest_weight <= _FLOAT32_CONDITION * smallest_reg
    return np.dtype(np.float32 if single else np.float64)


def estimate_bytes(sizes: FitSizes, num_rows: int) -> int:
    """Estimate the peak bytes of a fit on `num_rows`, its first block of scores included."""
    if sizes.num_centres is not None:
        return _estimate_on_centres(sizes, num_rows, sizes.num_centres)
    n, d = num_rows, sizes.num_items
    validated = n if sizes.validation_rows is None else min(n, sizes.validation_rows)
    itemsize = choose_dtype(sizes.precision, n, sizes.largest_weight, sizes.smallest_reg).itemsize
    entries = sizes.num_entries * n // max(1, sizes.num_rows)
    # The rows given, kept and held out of, split, and in pieces; by row and by item.
    sparse = 12 * 8 * entries + 4 * d * (n // TILE + 4)
    head = 8 * n * sizes.num_popular
    block = min(score_rows(d), n)
    scores = 3 * itemsize * block * n + 3 * 4 * block * d
    tiles = 8 * itemsize * TILE**2
    choice = inverse_rows_bytes(n, validated, itemsize)
    # A second matrix for the items that are new to the teacher, its scores, and other scores.
    taught = itemsize * n * n + 4 * d * min(n, sizes.num_taught) + scores if sizes.num_taught else 0
    return itemsize * n * n + sparse + head + scores + tiles + choice + taught


def _estimate_on_centres(sizes: FitSizes, num_rows: int, num_centres: int) -> int:
    """`estimate_bytes` where the rows are streamed past m centres."""
    d, m = sizes.num_items, min(num_centres, num_rows)
    itemsize = choose_dtype(
        sizes.precision, num_rows, sizes.largest_weight, sizes.smallest_reg
    ).itemsize
    entries = sizes.num_entries * num_rows // max(1, sizes.num_rows)
    # The rows given, kept and held out of, with what draws from them; the blocks are one tile each.
    sparse = 8 * 8 * entries + 8 * 4 * d
    # K of the centres, A, the last factor and the new one.
    squares = 8 * 5 * m * m
    block = min(SCORE_ROWS, num_rows)
    features = 8 * 6 * block * m
    # What popular items add to B at a time, and the items and rows that are kept dense.
    head = itemsize * m * sizes.num_popular + 8 * (m + 2 * block) * sizes.num_popular
    # Scores of a block, and a caller's copy.
    scores = 2 * 4 * min(score_rows(d), num_rows) * d
    return itemsize * m * d + sparse + squares + features + head + scores + 8 * 8 * TILE**2


def largest_fit(sizes: FitSizes, limit: int) -> int:
    """Return the largest number of rows within a limit, or raise `MemoryLimitExceeded`."""
    low, high = 0, sizes.num_rows
    if sizes.num_centres is not None:
        # Fewer rows than centres would be another fit.
        fewest = min(sizes.num_centres, sizes.num_rows)
        needed = estimate_bytes(sizes, fewest)
        if needed > limit:
            raise MemoryLimitExceeded(
                f"∞-AE: {fewest:,} centres and {sizes.num_items:,} items take "
                f"{needed / 2**20:,.0f} MiB, over the memory limit of {limit / 2**20:,.0f} MiB; "
                "take fewer with --set infinite-ae.centres=M, or raise --memory-limit"
            )
    while low < high:
        middle = (low + high + 1) // 2
        if estimate_bytes(sizes, middle) <= limit:
            low = middle
        else:
            high = middle - 1
    if low < min(FEWEST_ROWS, sizes.num_rows):
        needed = estimate_bytes(sizes, min(FEWEST_ROWS, sizes.num_rows))
        raise MemoryLimitExceeded(
            f"∞-AE: a memory limit of {limit / 2**20:,.0f} MiB has no room for even {FEWEST_ROWS} "
            f"rows of {sizes.num_items:,} items, which take {needed / 2**20:,.0f} MiB; raise "
            "--memory-limit"
        )
    return low
