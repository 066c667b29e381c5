"""Rows of the replay buffer on the default device, padded to one width (design note 9)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import csr_array

from models.padding import round_up

_WIDTH_STEP = 64
"""Rows are padded to a multiple of this, so that buffers differ in few shapes."""


@dataclass(frozen=True)
class ResidentRows:
    """Sparse rows as two arrays on the device: an accelerator's own memory where there is one.

    Attributes:
        items: `(n, k)` int32, each row's items in increasing order, then zeros.
        weights: `(n, k)` float32 in (0, 1], then zeros.
    """

    items: Array
    weights: Array

    @classmethod
    def place(cls, rows: csr_array) -> "ResidentRows":
        """Send rows to the default device.

        Args:
            rows: `(n, num_items)` float32, columns in increasing order, no stored zeros.
        """
        lengths = np.diff(rows.indptr)
        longest = int(lengths.max()) if len(lengths) else 0
        width = round_up(longest, _WIDTH_STEP)
        filled = np.arange(width) < lengths[:, None]
        items = np.zeros((len(lengths), width), dtype=np.int32)
        weights = np.zeros((len(lengths), width), dtype=np.float32)
        items[filled], weights[filled] = rows.indices, rows.data
        return cls(jnp.asarray(items), jnp.asarray(weights))

    def fetch(self, count: int, num_items: int) -> csr_array:
        """The first `count` rows back on the host, over `num_items` items: one transfer.

        Raises:
            ValueError: a row has an item beyond `num_items`.
        """
        items, weights = jax.device_get((self.items[:count], self.weights[:count]))
        filled = weights > 0
        if filled.any() and int(items[filled].max()) >= num_items:
            raise ValueError(f"rows cannot be narrowed to {num_items} items")
        offsets = np.concatenate([[0], filled.sum(axis=1).cumsum()]).astype(np.int32)
        return csr_array((weights[filled], items[filled], offsets), shape=(len(items), num_items))

    @property
    def num_rows(self) -> int:
        """Rows that are held."""
        return len(self.items)

    @property
    def nbytes(self) -> int:
        """Bytes on the device, padding included."""
        return int(self.items.nbytes + self.weights.nbytes)
