"""The seam of the samplers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Sample:
    """Some users' rows, or parts of them.

    Attributes:
        rows: `(n, num_items)` float32 binary, none empty, highest priority first, so that a prefix
            is what to keep when the budget shrinks.
        users: `(n,)` int64, the number of each row in what was given.
        priorities: `(n,)` float64, falling. Those of two calls compare: the best of two samples
            together are a sample of both.
        extent: users and interactions of what was given, where the rows are parts that together
            have its mean length; `None` where they are whole.
    """

    rows: csr_array
    users: NDArray[np.int64]
    priorities: NDArray[np.float64]
    extent: tuple[int, int] | None = None


class Sampler(Protocol):
    """Chooses rows to remember."""

    def __call__(self, rows: csr_array, budget: int, seed: int) -> Sample:
        """At most `budget` rows, each a subset of a real one.

        Args:
            rows: `(m, num_items)` float32 binary; rows may be empty.
            budget: ≥ 1.
            seed: every random draw derives from it.
        """
        ...


def take_first(rows: csr_array, priorities: NDArray[np.float64], budget: int) -> Sample:
    """The rows that are not empty with the highest priorities, whole.

    Args:
        rows: `(m, num_items)`.
        priorities: `(m,)`; no two equal ones, or their order is that of the rows.
        budget: ≥ 1.
    """
    filled = np.flatnonzero(np.diff(rows.indptr))
    order = filled[np.argsort(-priorities[filled], kind="stable")][:budget]
    return Sample(rows[order], order.astype(np.int64), priorities[order])


def thin(lucky: csr_array, wanted: int) -> csr_array:
    """The luckiest interactions, the luckiest of each row first of all.

    Args:
        lucky: `(n, num_items)` float64, each interaction's luck; no empty row.
        wanted: how many are kept; n if it is less.

    Returns:
        `(n, num_items)` float32 binary, no empty row.
    """
    count = lucky.shape[0]
    best = np.maximum.reduceat(lucky.data, lucky.indptr[:-1]) if count else np.empty(0)
    is_best = lucky.data == np.repeat(best, np.diff(lucky.indptr))
    chosen = np.lexsort((-lucky.data, ~is_best))[: max(wanted, count)]
    kept = np.zeros(lucky.nnz, dtype=np.bool_)
    kept[chosen] = True
    offsets = np.concatenate([[0], np.cumsum(kept)])[lucky.indptr]
    ones = np.ones(len(chosen), dtype=np.float32)
    return csr_array((ones, lucky.indices[kept], offsets), shape=lucky.shape)


def thin_to_mean(rows: csr_array, extent: tuple[int, int], seed: int) -> csr_array:
    """At most as many interactions as random users would bring; random ones of these rows.

    Args:
        rows: `(n, num_items)` binary, no empty row.
        extent: users and interactions of the log that the rows stand for.
        seed: of the draw.
    """
    users, interactions = extent
    wanted = round(rows.shape[0] * interactions / max(users, 1))
    if wanted >= rows.nnz:
        return rows
    luck = np.random.default_rng(seed).random(rows.nnz)
    return thin(csr_array((luck, rows.indices, rows.indptr), shape=rows.shape), wanted)
