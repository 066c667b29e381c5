"""Selection of the k largest entries of each row, without sorting all of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int64

_BITS = 31
"""Bits of a float32 ≥ 0; their order as integers is that of the numbers."""


def keep_largest(values: Float32[Array, "m i"], most: int | None) -> Float32[Array, "m i"]:
    """Set all but the k largest values ≥ 0 of each row to 0; of equal ones the first are kept.

    The k-th largest value is found by halving the range of its bits: thirty-one counts over the
    row, where a sort or `lax.top_k` moves all of it (measured: a third of their time on a CPU).
    `None` keeps all.
    """
    if most is None or most >= values.shape[1]:
        return values
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)

    def halve(_step: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        enough = (bits >= middle[:, None]).sum(axis=1) >= most
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    start = (jnp.zeros(len(bits), jnp.int32), bits.max(axis=1) + 1)
    threshold, _ = jax.lax.fori_loop(0, _BITS, halve, start)
    above, at = bits > threshold[:, None], bits == threshold[:, None]
    room = most - above.sum(axis=1)
    # Zeros may all stay: they change nothing.
    tied = (at.sum(axis=1) > room) & (threshold > 0)
    first = jax.lax.cond(
        tied.any(), lambda: at & (jnp.cumsum(at, axis=1) <= room[:, None]), lambda: at
    )
    return jnp.where(above | first, values, 0)


GROUP = 8
"""Items of a group, whose maximum is stored next to the parameters of a large catalogue.

Of larger groups so many reach the k-th largest maximum that gathering them takes most of the time.
"""


def group_maxima(values: Float32[np.ndarray, "i m"]) -> Float32[np.ndarray, "groups m"]:
    """Compute the maximum of each group of `GROUP` rows, which divides their number, by column."""
    maxima: Float32[np.ndarray, "groups m"] = values.reshape(-1, GROUP, values.shape[1]).max(axis=1)
    return maxima


def largest_of_columns(
    values: Float32[np.ndarray, "i m"], maxima: Float32[np.ndarray, "groups m"], most: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Select the k ≥ 1 largest entries ≥ 0 of each column of a large array, without a pass over it.

    At least k entries reach the k-th largest of the groups' maxima, `group_maxima`, so that only
    the groups that reach it are read. Rows, columns and values of the entries are returned, by
    column, the largest first.
    """
    count, width = maxima.shape
    bound = np.zeros(width, dtype=np.float32)
    if count > most:
        bound = np.partition(maxima, count - most, axis=0)[count - most]
    groups, columns = np.nonzero((maxima >= bound) & (maxima > 0))
    candidates = values.reshape(count, GROUP, width)[groups, :, columns]
    kept = (candidates >= bound[columns, None]) & (candidates > 0)
    which, within = np.nonzero(kept)
    rows, columns, largest = groups[which] * GROUP + within, columns[which], candidates[kept]
    order = np.lexsort((rows, -largest, columns))
    counts = np.bincount(columns, minlength=width)
    places = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[places < most]
    return rows[chosen], columns[chosen], largest[chosen]
