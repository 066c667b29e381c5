"""Parts of rows, for samplers that count interactions and not only users."""

import numpy as np
from scipy.sparse import csr_array


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
