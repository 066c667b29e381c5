"""Padded batches of sparse rows and padded parameters, in few shapes, to reuse compiled code."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mesh import next_power
from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError


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
    """Return a number of entries that few batches of `(n, d)` rows exceed: mean + 3 deviations."""
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


def as_batch(rows: csr_array) -> SparseBatch:
    """Take rows `(n, num_items)` as one batch, padded to one of a few sizes."""
    return assemble(rows, np.arange(rows.shape[0]), pad_rows(rows.shape[0]))


def scale_weights(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale weights `(n,)` to mean 1; a row with weight 2 counts as two copies of it."""
    scaled: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return scaled


def draw_row_numbers(
    num_rows: int, batch_size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of `num_rows` ≥ 1 rows, in batches `(batch_size,)` of endless shuffles.

    A batch may straddle two passes, so that each has `batch_size` ≥ 1 rows and an update means the
    same throughout; with fewer rows than that, every batch is all of them.
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
    """Yield endless padded batches of `batch_size` rows of `(num_rows ≥ 1, num_items)` float32.

    The order is random by the seed; only the ratios of the weights `(num_rows,)` > 0 matter.
    """
    scaled = scale_weights(weights)
    usual = usual_entries(matrix, min(batch_size, matrix.shape[0]))
    generator = np.random.default_rng(seed)
    for numbers in draw_row_numbers(matrix.shape[0], batch_size, generator):
        yield assemble(matrix, numbers, batch_size, scaled, usual)


def make_key(seed: int) -> Array:
    """Make a scalar JAX key from any derived seed, the same with and without 64-bit types."""
    return jax.random.key(derive_seed(seed) >> 32)


def without_padding(
    parameters: Mapping[str, Array], item_arrays: Collection[str], num_items: int
) -> dict[str, NDArray[np.float32]]:
    """Return parameters by name; those named in `item_arrays` are cut to `(num_items, ...)`."""
    return {
        name: np.asarray(values)[:num_items] if name in item_arrays else np.asarray(values)
        for name, values in parameters.items()
    }


def with_padding(
    arrays: Mapping[str, NDArray[Any]], item_arrays: Collection[str], num_items: int
) -> dict[str, Array]:
    """Put arrays on the device, those in `item_arrays`, `(num_items, ...)`, padded with zeros."""
    extra = pad_items(num_items) - num_items
    return {
        name: jnp.asarray(
            np.pad(values, [(0, extra)] + [(0, 0)] * (values.ndim - 1))
            if name in item_arrays
            else values
        )
        for name, values in arrays.items()
    }


def check_stored(
    model: str, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Return the stored arrays with these names; `UserError` unless all are float32 and fit."""
    for name, shape in shapes.items():
        values = arrays.get(name)
        if values is None or values.shape != shape or values.dtype != np.float32:
            raise UserError(
                f"the saved {model} has no float32 array '{name}' of shape {shape}; "
                "fit the model again"
            )
    return {name: arrays[name] for name in shapes}
