"""Products with sparse rows on a mesh: the kernel of rows, of contexts with rows, and scores.

Every device holds the entries of all rows, which are few, and makes one item block of them dense
at a time: memory is that of the result and of one block, whatever the catalogue. A device makes its
share of the result's rows, and nothing is exchanged meanwhile.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from models.kernel import KernelSettings, kernel_diagonal, kernel_values
from models.mesh import ON_EACH, ROWS, SHARED_OUT

_EXACT = jax.lax.Precision.HIGHEST
"""An accelerator would otherwise cut the factors of a product to ten bits."""


class Entries(NamedTuple):
    """Non-zeros of rows by item block.

    Attributes:
        rows: `(blocks, l)` int32 row numbers; those of padding lie past the last row.
        columns: `(blocks, l)` int32 columns within the block.
        values: `(blocks, l)` float32 or float64.
    """

    rows: Array
    columns: Array
    values: Array


@partial(jax.jit, static_argnames=("mesh", "width", "settings"))
def gram(
    entries: Entries,
    squares: Array,
    num_items: Array,
    num_rows: Array,
    mesh: Mesh,
    width: int,
    settings: KernelSettings,
) -> Array:
    """Θ of rows with themselves, exact on the diagonal.

    Args:
        entries: of the rows, on each device.
        squares: `(p,)` |x|², on each device; p is a multiple of the devices.
        num_items: d.
        num_rows: n ≤ p; the others are padding, and a part of the identity in the result.
        mesh: the devices.
        width: items in a block.
        settings: of the kernel.

    Returns:
        `(p, p)`, its rows shared out.
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
        row, column = first + jnp.arange(share)[:, None], jnp.arange(size)[None, :]
        theta = jnp.where(row == column, diagonal[:, None], theta)
        padding = (row >= num_rows) | (column >= num_rows)
        return jnp.where(padding, (row == column).astype(theta.dtype), theta)

    specs = (ON_EACH, ON_EACH, ON_EACH, ON_EACH)
    run = jax.shard_map(piece, mesh=mesh, in_specs=specs, out_specs=SHARED_OUT, check_vma=False)
    matrix: Array = run(entries, squares, num_items, num_rows)
    return matrix


@partial(jax.jit, static_argnames=("mesh", "width", "settings"))
def cross(
    asked: Entries,
    asked_squares: Array,
    entries: Entries,
    squares: Array,
    num_items: Array,
    mesh: Mesh,
    width: int,
    settings: KernelSettings,
) -> Array:
    """Θ of contexts with rows.

    Args:
        asked: of the contexts, `(devices, blocks, l)`: each device has its share, numbered from 0.
        asked_squares: `(c,)` |x|² of the contexts, shared out.
        entries: of the rows, on each device.
        squares: `(p,)` |x|² of the rows, on each device.
        num_items: d.
        mesh: the devices.
        width: items in a block.
        settings: of the kernel.

    Returns:
        `(c, p)`, contexts shared out.
    """
    share = len(asked_squares) // mesh.size

    def piece(
        asked: Entries, asked_squares: Array, entries: Entries, squares: Array, num_items: Array
    ) -> Array:
        def add(inner: Array, blocks: tuple[Entries, Entries]) -> tuple[Array, None]:
            left, right = _dense(blocks[0], share, width), _dense(blocks[1], len(squares), width)
            return inner + jnp.matmul(left, right.T, precision=_EXACT), None

        own = Entries(asked.rows[0], asked.columns[0], asked.values[0])
        start = jnp.zeros((share, len(squares)), squares.dtype)
        inner, _ = jax.lax.scan(add, start, (own, entries))
        theta: Array = kernel_values(inner, asked_squares, squares, num_items, settings)
        return theta

    specs = (SHARED_OUT, SHARED_OUT, ON_EACH, ON_EACH, ON_EACH)
    run = jax.shard_map(piece, mesh=mesh, in_specs=specs, out_specs=SHARED_OUT, check_vma=False)
    matrix: Array = run(asked, asked_squares, entries, squares, num_items)
    return matrix


@partial(jax.jit, static_argnames=("mesh", "width"))
def combine(coefficients: Array, entries: Entries, mesh: Mesh, width: int) -> Array:
    """Rows summed with coefficients.

    Args:
        coefficients: `(c, p)`, shared out by c.
        entries: of the rows, on each device.
        mesh: the devices.
        width: items in a block.

    Returns:
        `(c, width · blocks)` float32, shared out by c, in the order of the items.
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
    """`(size, width)` of one item block."""
    empty = jnp.zeros((size, width), block.values.dtype)
    return empty.at[block.rows, block.columns].set(block.values, mode="drop")
