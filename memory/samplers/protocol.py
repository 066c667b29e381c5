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
