"""Padded batches of sparse rows, in few shapes, so that compiled code is used again."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mesh import next_power
from perennial.storage.base import derive_seed


class SparseBatch(NamedTuple):
    """Rows as a list of their entries, padded to bucketed lengths.

    Attributes:
        rows: `(N,)` int32, row of each entry in the batch, ascending; padding has 0.
        items: `(N,)` int32; padding has 0.
        values: `(N,)` float32; padding has 0.
        weights: `(B,)` float32, weight of each row in the loss; padding has 0.
    """

    rows: Array
    items: Array
    values: Array
    weights: Array


_ITEM_STEPS = 8
_ITEM_GRAIN = 256
_SMALLEST_ROWS = 8
_SMALLEST_ENTRIES = 512


def pad_items(num_items: int) -> int:
    """Return the padded width of the item axis: a multiple of 256, at most 12.5% more from 2,048.

    The work grows with the width, but below that a compilation costs more than it.
    """
    return -(-num_items // _grain(num_items)) * _grain(num_items) if num_items else _ITEM_GRAIN


def _grain(num_items: int) -> int:
    below = 1 << max(0, (num_items - 1).bit_length() - 1)
    return max(_ITEM_GRAIN, below // _ITEM_STEPS)


def pad_rows(num_rows: int) -> int:
    """Return the padded number of rows that are scored, a power of two."""
    return max(_SMALLEST_ROWS, next_power(num_rows))


def pad_entries(num_entries: int) -> int:
    """Return the padded number of entries of a batch, a power of two."""
    return max(_SMALLEST_ENTRIES, next_power(num_entries))


def usual_entries(matrix: csr_array, batch_size: int) -> int:
    """Return a number of entries that few batches exceed: three deviations over the mean."""
    lengths = np.diff(matrix.indptr)
    spread = float(lengths.std()) * batch_size**0.5
    return int(float(lengths.mean()) * batch_size + 3 * spread)


def assemble(
    matrix: csr_array,
    row_numbers: NDArray[np.int64],
    num_padded: int,
    weights: NDArray[np.float32] | None = None,
    least_entries: int = 0,
) -> SparseBatch:
    """Take rows of a matrix as one padded batch.

    Args:
        matrix: `(num_rows, num_items)` float32.
        row_numbers: `(b,)`, numbers of the rows, in order.
        num_padded: B ≥ b, the rows of the batch with its padding.
        weights: `(num_rows,)` of all rows; 1 each if none are given.
        least_entries: pad at least as if there were so many entries.
    """
    starts = matrix.indptr[row_numbers]
    lengths = matrix.indptr[row_numbers + 1] - starts
    num_entries = int(lengths.sum())
    rows = np.repeat(np.arange(len(row_numbers), dtype=np.int32), lengths)
    firsts = np.cumsum(lengths) - lengths
    entries = np.arange(num_entries) + np.repeat(starts - firsts, lengths)
    padding = (0, pad_entries(max(num_entries, least_entries)) - num_entries)
    chosen = (
        np.ones(len(row_numbers), dtype=np.float32) if weights is None else weights[row_numbers]
    )
    return SparseBatch(
        rows=jnp.asarray(np.pad(rows, padding)),
        items=jnp.asarray(np.pad(matrix.indices[entries].astype(np.int32), padding)),
        values=jnp.asarray(np.pad(matrix.data[entries].astype(np.float32), padding)),
        weights=jnp.asarray(np.pad(chosen, (0, num_padded - len(row_numbers)))),
    )


def scale_weights(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale weights to mean 1; a row with weight 2 counts as two copies of it."""
    scaled: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return scaled


def draw_row_numbers(
    num_rows: int, batch_size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of endless shuffled passes in batches.

    A batch may straddle two passes, so that each has `batch_size` rows and an update means the same
    throughout; with fewer rows than that, every batch is all of them.

    Args:
        num_rows: ≥ 1.
        batch_size: ≥ 1.
        generator: shuffles.
    """
    size = min(batch_size, num_rows)
    waiting = np.zeros(0, dtype=np.int64)
    while True:
        if len(waiting) < size:
            waiting = np.concatenate([waiting, generator.permutation(num_rows)])
        yield waiting[:size]
        waiting = waiting[size:]


def draw_batches(
    matrix: csr_array, weights: NDArray[np.float64], batch_size: int, seed: int
) -> Iterator[SparseBatch]:
    """Yield endless padded batches of rows in random order.

    Args:
        matrix: `(num_rows, num_items)` float32, at least one row.
        weights: `(num_rows,)` > 0; only their ratios matter.
        batch_size: rows of a batch, padding included.
        seed: seed of the order.
    """
    scaled = scale_weights(weights)
    usual = usual_entries(matrix, min(batch_size, matrix.shape[0]))
    generator = np.random.default_rng(seed)
    for numbers in draw_row_numbers(matrix.shape[0], batch_size, generator):
        yield assemble(matrix, numbers, batch_size, scaled, usual)


def make_key(seed: int) -> Array:
    """Make a JAX key from any derived seed, the same whether or not 64-bit types are enabled."""
    return jax.random.key(derive_seed(seed) >> 32)
