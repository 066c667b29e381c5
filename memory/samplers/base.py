"""The interface of samplers, and how they take rows."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Sample:
    """Rows of some users, or parts of these rows.

    Attributes:
        rows: `(n, num_items)` float32 binary, none empty, highest priority first: when the
            budget shrinks, a prefix is kept.
        users: `(n,)` int64, number of each row among the rows that were sampled from.
        priorities: `(n,)` float64, descending. Those of two calls are comparable: the rows with the
            highest priorities of two samples are a sample of both.
        extent: numbers of users and interactions that were sampled from, if the rows are parts with
            the same mean length; `None` if they are whole.
    """

    rows: csr_array
    users: NDArray[np.int64]
    priorities: NDArray[np.float64]
    extent: tuple[int, int] | None = None


class Sampler(Protocol):
    """A function that chooses rows to keep."""

    def __call__(self, rows: csr_array, budget: int, seed: int) -> Sample:
        """Sample at most `budget` ≥ 1 rows of `(m, num_items)` float32 binary, or parts of them.

        Rows may be empty. Every random draw derives from the seed.
        """


def take_first(rows: csr_array, priorities: NDArray[np.float64], budget: int) -> Sample:
    """Take rows of `(m, num_items)` with the highest priorities `(m,)` whole, without empty ones.

    Equal priorities are in the order of the rows; `budget` ≥ 1.
    """
    filled = np.flatnonzero(np.diff(rows.indptr))
    order = filled[np.argsort(-priorities[filled], kind="stable")][:budget]
    return Sample(rows[order], order.astype(np.int64), priorities[order])


def thin(keys: csr_array, count: int) -> csr_array:
    """Keep the `count` interactions with the largest keys, but the largest of each row before all.

    `keys` are `(n, num_items)` float64, a random one for each interaction, no row being empty; the
    result is `(n, num_items)` float32 binary, and has n interactions if `count` is less.
    """
    num_rows = keys.shape[0]
    best = np.maximum.reduceat(keys.data, keys.indptr[:-1]) if num_rows else np.empty(0)
    is_best = keys.data == np.repeat(best, np.diff(keys.indptr))
    chosen = np.lexsort((-keys.data, ~is_best))[: max(count, num_rows)]
    kept = np.zeros(keys.nnz, dtype=np.bool_)
    kept[chosen] = True
    offsets = np.concatenate([[0], np.cumsum(kept)])[keys.indptr]
    ones = np.ones(len(chosen), dtype=np.float32)
    return csr_array((ones, keys.indices[kept], offsets), shape=keys.shape)


def mean_entries(num_rows: int, extent: tuple[int, int]) -> int:
    """Return the number of interactions of rows of mean length; `extent` is as in `Sample`."""
    users, interactions = extent
    return max(num_rows, round(num_rows * interactions / max(users, 1)))


def thin_to_mean(rows: csr_array, extent: tuple[int, int], seed: int) -> csr_array:
    """Keep random interactions, at most as many as rows of random users have on average.

    The rows `(n, num_items)` are binary, none of them empty; `extent` are the numbers of users and
    interactions of the log that they stand for.
    """
    count = mean_entries(rows.shape[0], extent)
    if count >= rows.nnz:
        return rows
    keys = np.random.default_rng(seed).random(rows.nnz)
    return thin(csr_array((keys, rows.indices, rows.indptr), shape=rows.shape), count)
