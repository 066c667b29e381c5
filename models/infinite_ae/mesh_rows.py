"""Rows placed on the devices of a mesh, and the kernel products of ∞-AE on them."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.infinite_ae.kernel import KernelSettings, kernel_diagonal, kernel_values
from perennial.models.infinite_ae.row_blocks import squared_lengths, without_duplicates
from perennial.models.mesh import ON_EACH, ROWS, SHARED_OUT, next_power, put_on_each, round_up
from perennial.models.scoring import score_rows

_EXACT = jax.lax.Precision.HIGHEST
"""By default an accelerator rounds the factors of a product to ten bits."""


class Entries(NamedTuple):
    """Non-zeros of rows by item block.

    Attributes:
        rows: `(blocks, l)` int32 row numbers; padding has numbers past the last row.
        columns: `(blocks, l)` int32 columns within the block.
        values: `(blocks, l)` float32 or float64.
    """

    rows: Array
    columns: Array
    values: Array


@partial(jax.jit, static_argnames=("mesh", "width", "settings"))
def _gram(
    entries: Entries,
    squares: Array,
    num_items: Array,
    num_rows: Array,
    mesh: Mesh,
    width: int,
    settings: KernelSettings,
) -> Array:
    """Compute Θ of rows with themselves, exact on the diagonal: `(p, p)`, its rows shared out.

    `squares` are `(p,)` |x|², p a multiple of the devices, and `width` the number of items in a
    block. The rows past n are padding, and a part of the identity in the result.
    """
    size = len(squares)
    share = size // mesh.size

    def piece(entries: Entries, squares: Array, num_items: Array, num_rows: Array) -> Array:
        first = jax.lax.axis_index(ROWS) * share

        def add(inner: Array, block: Entries) -> tuple[Array, None]:
            dense = _dense(block, size, width)
            own = jax.lax.dynamic_slice_in_dim(dense, first, share)
            return inner + jnp.matmul(own, dense.T, precision=_EXACT), None

        inner, _ = jax.lax.scan(add, jnp.zeros((share, size), squares.dtype), entries)
        own_squares = jax.lax.dynamic_slice_in_dim(squares, first, share)
        theta = kernel_values(inner, own_squares, squares, num_items, settings)
        diagonal = kernel_diagonal(own_squares, num_items, settings)
        number = jnp.arange(size, dtype=jnp.int32)
        row, column = first + number[:share, None], number[None, :]
        theta = jnp.where(row == column, diagonal[:, None], theta)
        padding = (row >= num_rows) | (column >= num_rows)
        return jnp.where(padding, (row == column).astype(theta.dtype), theta)

    specs = (ON_EACH, ON_EACH, ON_EACH, ON_EACH)
    run = jax.shard_map(piece, mesh=mesh, in_specs=specs, out_specs=SHARED_OUT, check_vma=False)
    matrix: Array = run(entries, squares, num_items, num_rows)
    return matrix


@partial(jax.jit, static_argnames=("mesh", "width", "settings"))
def _cross(
    contexts: Entries,
    context_squares: Array,
    entries: Entries,
    squares: Array,
    num_items: Array,
    mesh: Mesh,
    width: int,
    settings: KernelSettings,
) -> Array:
    """Compute Θ of contexts with rows, see `_gram`: `(c, p)`, the contexts shared out.

    The contexts are entries `(devices, blocks, l)`, a share for each device, numbered from 0, and
    their |x|² `(c,)`, shared out.
    """
    share = len(context_squares) // mesh.size

    def piece(
        contexts: Entries,
        context_squares: Array,
        entries: Entries,
        squares: Array,
        num_items: Array,
    ) -> Array:
        def add(inner: Array, blocks: tuple[Entries, Entries]) -> tuple[Array, None]:
            left, right = _dense(blocks[0], share, width), _dense(blocks[1], len(squares), width)
            return inner + jnp.matmul(left, right.T, precision=_EXACT), None

        own = Entries(contexts.rows[0], contexts.columns[0], contexts.values[0])
        start = jnp.zeros((share, len(squares)), squares.dtype)
        inner, _ = jax.lax.scan(add, start, (own, entries))
        theta: Array = kernel_values(inner, context_squares, squares, num_items, settings)
        return theta

    specs = (SHARED_OUT, SHARED_OUT, ON_EACH, ON_EACH, ON_EACH)
    run = jax.shard_map(piece, mesh=mesh, in_specs=specs, out_specs=SHARED_OUT, check_vma=False)
    matrix: Array = run(contexts, context_squares, entries, squares, num_items)
    return matrix


@partial(jax.jit, static_argnames=("mesh", "width"))
def _combine(coefficients: Array, entries: Entries, mesh: Mesh, width: int) -> Array:
    """Multiply coefficients `(c, p)`, shared out by c, by the rows: `(c, width · blocks)` float32.

    The result is shared out by c too, in the order of the items.
    """

    def piece(coefficients: Array, entries: Entries) -> Array:
        count, size = coefficients.shape

        def score(_: None, block: Entries) -> tuple[None, Array]:
            dense = _dense(block, size, width).astype(jnp.float32)
            return None, jnp.matmul(coefficients, dense, precision=_EXACT)

        _, by_block = jax.lax.scan(score, None, entries)
        # Item i is column i // blocks of block i % blocks.
        in_order: Array = by_block.transpose(1, 2, 0).reshape(count, -1)
        return in_order

    specs = (SHARED_OUT, ON_EACH)
    run = jax.shard_map(piece, mesh=mesh, in_specs=specs, out_specs=SHARED_OUT, check_vma=False)
    scores: Array = run(coefficients.astype(jnp.float32), entries)
    return scores


def _dense(block: Entries, size: int, width: int) -> Array:
    """Lay one item block out as a dense matrix `(size, width)`."""
    empty = jnp.zeros((size, width), block.values.dtype)
    return empty.at[block.rows, block.columns].set(block.values, mode="drop")


_BLOCK_CELLS = 2**25
"""Number of cells of a dense item block."""

_ROW_STEP = 512
"""Rows are padded to a multiple of this, so that few sizes are compiled."""

_FEW_CONTEXTS = 16
"""Contexts are padded to so many or to a block of scores, so that few sizes are compiled."""


@dataclass(frozen=True)
class MeshRows:
    """Rows on the devices of a mesh.

    Attributes:
        rows: `(n, d)` on the host.
        dtype: dtype of all computations, float32 or float64.
        entries: entries of the rows, on each device.
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
        """Send rows `(n, d)` to all devices of a mesh; duplicate entries are added up."""
        rows = without_duplicates(rows)
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
        """Compute Θ of the rows with themselves, exact on the diagonal: `(p, p)`, rows shared out.

        Padding is a part of the identity, which changes no solution.
        """
        with jax.enable_x64(self.dtype == np.float64):
            matrix: Array = _gram(
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
        """Compute the diagonal of that matrix, `(n,)`."""
        with jax.enable_x64(self.dtype == np.float64):
            theta = kernel_diagonal(self.squares, self._kernel_items, self.settings)
            values: NDArray[Any] = np.asarray(theta)[: self.rows.shape[0]]
        return values

    def cross(self, contexts: csr_array) -> Array:
        """Compute Θ of contexts `(m, d)`, at most a block of scores, with the rows.

        It is `(c, p)`, contexts shared out; c is m with padding.
        """
        contexts = without_duplicates(contexts)
        size = self._padded(contexts.shape[0])
        share = size // self.mesh.size
        parts = [contexts[start : start + share] for start in range(0, size, share)]
        packed = _pack(parts, share, len(self.entries.rows), self.dtype)
        with jax.enable_x64(self.dtype == np.float64):
            matrix: Array = _cross(
                *self._shared_out((packed, squared_lengths(contexts, size).astype(self.dtype))),
                self.entries,
                self.squares,
                self._kernel_items,
                self.mesh,
                self.width,
                self.settings,
            )
        return matrix

    def combine(self, coefficients: NDArray[Any] | Array) -> NDArray[np.float32]:
        """Multiply coefficients, `(b, n)` on the host or `(c, p)` from `cross`, by the rows.

        The result is `(b, d)` or `(c, d)` float32.
        """
        count = len(coefficients)
        with jax.enable_x64(self.dtype == np.float64):
            if not isinstance(coefficients, Array):
                padded = np.zeros((self._padded(count), len(self.squares)), dtype=np.float32)
                padded[:count, : coefficients.shape[1]] = coefficients
                coefficients = self._shared_out(padded)
            scores = _combine(coefficients, self.entries, self.mesh, self.width)
            # A copy: arrays of a device are read-only, and callers write to the result.
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
    """Return the non-zeros of parts of the same items by item block, `(parts, blocks, l)`.

    Items are distributed to the blocks in turn: the popular ones come first in a log, and would
    make the first block, to whose length all are padded, many times as long as the others. The row
    number of padding is `padded`.
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
