"""Rows placed on the devices of a mesh, with what ∞-AE asks of them."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models import mesh_products
from models.kernel import KernelSettings, kernel_diagonal
from models.memory_estimate import score_rows
from models.mesh import SHARED_OUT, put_on_each
from models.mesh_products import Entries
from models.padding import next_power, round_up
from models.row_blocks import squared_lengths, without_twins

_BLOCK_CELLS = 2**25
"""Cells of an item block that is dense."""

_ROW_STEP = 512
"""Rows are padded to a multiple of this, so that few sizes are compiled."""

_FEW_CONTEXTS = 16
"""Contexts are padded to so many or to a block of scores, so that few sizes are compiled."""


@dataclass(frozen=True)
class MeshRows:
    """Rows on the devices of a mesh.

    Attributes:
        rows: `(n, d)` on the host.
        mesh: the devices.
        settings: of the kernel.
        dtype: float32 or float64, of what is computed.
        entries: of the rows, on each device.
        squares: `(p,)` |x|², on each device; p is n with padding.
        width: items in a block.
    """

    rows: csr_array
    mesh: Mesh
    settings: KernelSettings
    dtype: np.dtype[Any]
    entries: Entries
    squares: Array
    width: int

    @classmethod
    def place(
        cls, rows: csr_array, mesh: Mesh, settings: KernelSettings, dtype: np.dtype[Any]
    ) -> "MeshRows":
        """Send rows to all devices of a mesh.

        Args:
            rows: `(n, d)`; entries that stand twice are added.
            mesh: the devices.
            settings: of the kernel.
            dtype: float32 or float64.
        """
        rows = without_twins(rows)
        padded = round_up(rows.shape[0], _ROW_STEP * mesh.size)
        width = min(max(1, rows.shape[1]), max(128, _BLOCK_CELLS // padded))
        blocks = max(1, -(-rows.shape[1] // width))
        packed = _pack([rows], padded, blocks, dtype)
        entries = Entries(*(part[0] for part in packed))
        with jax.enable_x64(dtype == np.float64):
            entries = put_on_each(entries, mesh)
            squares = put_on_each(jnp.asarray(squared_lengths(rows, padded).astype(dtype)), mesh)
        return cls(rows, mesh, settings, dtype, entries, squares, width)

    def gram(self) -> Array:
        """Θ of the rows with themselves, exact on the diagonal: `(p, p)`, rows shared out.

        Padding is a part of the identity, which no solution feels.
        """
        with jax.enable_x64(self.dtype == np.float64):
            matrix: Array = mesh_products.gram(
                self.entries,
                self.squares,
                self._kernel_items,
                np.int32(self.rows.shape[0]),
                self.mesh,
                self.width,
                self.settings,
            )
        return matrix

    def diagonal(self) -> NDArray[Any]:
        """`(n,)` of that matrix."""
        with jax.enable_x64(self.dtype == np.float64):
            theta = kernel_diagonal(self.squares, self._kernel_items, self.settings)
            values: NDArray[Any] = np.asarray(theta)[: self.rows.shape[0]]
        return values

    def cross(self, contexts: csr_array) -> Array:
        """Θ of contexts with the rows: `(c, p)`, contexts shared out; c is m with padding.

        Args:
            contexts: `(m, d)`, at most a block of scores.
        """
        contexts = without_twins(contexts)
        size = self._padded(contexts.shape[0])
        share = size // self.mesh.size
        parts = [contexts[start : start + share] for start in range(0, size, share)]
        asked = _pack(parts, share, len(self.entries.rows), self.dtype)
        with jax.enable_x64(self.dtype == np.float64):
            matrix: Array = mesh_products.cross(
                *self._shared_out((asked, squared_lengths(contexts, size).astype(self.dtype))),
                self.entries,
                self.squares,
                self._kernel_items,
                self.mesh,
                self.width,
                self.settings,
            )
        return matrix

    def combine(self, coefficients: NDArray[Any] | Array) -> NDArray[np.float32]:
        """Sum the rows with coefficients: scores from weights on rows.

        Args:
            coefficients: `(b, n)` on the host or `(c, p)` from `cross`.

        Returns:
            `(b, d)` or `(c, d)` float32.
        """
        count = len(coefficients)
        with jax.enable_x64(self.dtype == np.float64):
            if not isinstance(coefficients, Array):
                padded = np.zeros((self._padded(count), len(self.squares)), dtype=np.float32)
                padded[:count, : coefficients.shape[1]] = coefficients
                coefficients = self._shared_out(padded)
            scores = mesh_products.combine(coefficients, self.entries, self.mesh, self.width)
            # A copy: what lies on a device cannot be written to, and callers go on with it.
            whole: NDArray[np.float32] = np.array(scores[:count, : self.rows.shape[1]])
        return whole

    @property
    def _kernel_items(self) -> Any:
        return self.dtype.type(max(1, self.rows.shape[1]))

    def _padded(self, count: int) -> int:
        size = _FEW_CONTEXTS if count <= _FEW_CONTEXTS else score_rows(self.rows.shape[1])
        return round_up(max(count, size), self.mesh.size)

    def _shared_out(self, arrays: Any) -> Any:
        return jax.device_put(arrays, NamedSharding(self.mesh, SHARED_OUT))


def _pack(parts: list[csr_array], padded: int, blocks: int, dtype: np.dtype[Any]) -> Entries:
    """The non-zeros of each part by item block, `(parts, blocks, l)`.

    Items are dealt out to the blocks in turn: the popular ones come first in a log, and would make
    the first block, to whose length all are padded, many times as long as the others.

    Args:
        parts: sparse matrices of the same items.
        padded: the row number of padding.
        blocks: how many.
        dtype: of the values.
    """
    lengths = [np.bincount(part.indices % blocks, minlength=blocks) for part in parts]
    longest = max(int(length.max(initial=0)) for length in lengths)
    shape = (len(parts), blocks, next_power(longest))
    rows = np.full(shape, padded, dtype=np.int32)
    columns = np.zeros(shape, dtype=np.int32)
    values = np.zeros(shape, dtype=dtype)
    for number, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        order = np.argsort(part.indices % blocks, kind="stable")
        block = part.indices[order] % blocks
        place = np.arange(len(order)) - (np.cumsum(length) - length)[block]
        row_numbers = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        rows[number, block, place] = row_numbers[order]
        columns[number, block, place] = part.indices[order] // blocks
        values[number, block, place] = part.data[order]
    return Entries(rows, columns, values)  # type: ignore[arg-type]
