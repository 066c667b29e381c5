"""Users' rows by item: what is as wide as a large catalogue, made block by block of the items.

Rows over a million items are sparse, and so is a support of k items per row. What is dense is a
combination of users' rows: the targets of a distillation, the first parameters, each gradient. So
the coefficients are kept, a number per user, and the combination is made for a block of the items
where it is needed, at the cost of the interactions that the block has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.padding import round_up
from storage.parallel import run_all

BLOCK = 4096
"""Items at a time, a multiple of `memory.largest.GROUP`; 500 parameters of each take 8 MiB."""

_USERS = 8192
"""Users of one product."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ItemBlocks:
    """Rows of users, by user and by item.

    Attributes:
        rows: `(n, i)` float32, columns in increasing order.
    """

    rows: csr_array

    @property
    def num_padded(self) -> int:
        """Items, padded to whole blocks."""
        return round_up(int(self.rows.shape[1]), BLOCK)

    @cached_property
    def _blocks(self) -> list[csr_array]:
        """Each `(BLOCK, n)`, by item."""
        by_item = self.rows.T.tocsr()
        by_item.resize((self.num_padded, self.rows.shape[0]))
        return [by_item[start : start + BLOCK] for start in range(0, self.num_padded, BLOCK)]

    def __iter__(self) -> Iterator[slice]:
        """The blocks as ranges of items."""
        return iter(slice(start, start + BLOCK) for start in range(0, self.num_padded, BLOCK))

    def combine(self, coefficients: Floats, block: slice) -> Floats:
        """Combinations of the rows over a block of the items.

        Args:
            coefficients: `(n, m)` in C order, a column for each combination.
            block: of the items.

        Returns:
            `(BLOCK, m)`, by item; 0 for padding.
        """
        combined: Floats = self._blocks[block.start // BLOCK] @ coefficients
        return combined

    def inner(self, columns: NDArray[np.int64], values: Floats) -> Floats:
        """Inner products of all users' rows with others that have entries in a few columns.

        Args:
            columns: `(c,)` ascending.
            values: `(c, m)`, the others over these columns.

        Returns:
            `(n, m)`.
        """
        narrow = self.rows[:, columns]

        def multiply(first: int) -> Floats:
            products: Floats = narrow[first : first + _USERS] @ values
            return products

        starts = range(0, narrow.shape[0], _USERS)
        return np.concatenate(run_all([partial(multiply, first) for first in starts]))
