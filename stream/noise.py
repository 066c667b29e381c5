"""Noise in a log: interactions at random, instead of real ones or in addition to them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError
from perennial.stream.evaluation import binary, pair_matrix
from perennial.stream.negatives import draw_negatives

NoiseKind = Literal["swap", "flip"]
"""Base of the per cent: `swap` the user's own items, `flip` all items of the catalogue."""

_CHUNK_CELLS = 1 << 24
"""Items drawn per block: users × the most that one of them may get."""


@dataclass(frozen=True)
class Noise:
    """Amount and kind of the noise.

    Attributes:
        percent: x, between 0 and 100.
        kind: `swap`: x% of each user's items, chosen at random, are replaced by as many others,
            drawn uniformly. `flip`: x% of all items are drawn for each user; those that the user
            has are removed, the others are added, as in the paper.
    """

    percent: float = 0.0
    kind: NoiseKind = "swap"

    def __post_init__(self) -> None:
        if not 0.0 <= self.percent <= 100.0:
            raise UserError(f"noise of {self.percent:g}% is not between 0 and 100%")


def add_noise(rows: csr_array, noise: Noise, seed: int) -> csr_array:
    """Add noise to rows `(users, items)` float32 binary without duplicates.

    x% of n items is rarely a whole number: it is rounded up or down at random for each user, so
    that it is x% on average. With the same seed, what changes at some x changes at any larger x.

    Returns:
        `(users, items)` float32 binary in canonical form. `swap` changes fewer items of a user
        who has so many that not enough others are left.
    """
    rows = binary(rows)
    if noise.percent == 0:
        return rows
    generator = np.random.default_rng(derive_seed(seed, "noise", noise.kind))
    rounding = generator.random(rows.shape[0])
    keys = generator.random(rows.nnz)
    lengths = np.diff(rows.indptr).astype(np.int64)
    base = lengths if noise.kind == "swap" else np.full_like(lengths, rows.shape[1])
    counts = np.floor(noise.percent * base / 100 + rounding).astype(np.int64)
    counts = np.minimum(counts, base)
    drawn_seed = derive_seed(seed, "noise", noise.kind, "drawn")
    if noise.kind == "flip":
        nothing = csr_array(rows.shape, shape=rows.shape, dtype=np.float32)
        drawn = _draw(nothing, counts, base, drawn_seed)
        return binary(rows + drawn - 2 * rows.multiply(drawn))
    counts = np.minimum(counts, rows.shape[1] - lengths)
    drawn = _draw(rows, counts, base, drawn_seed)
    return binary(_remove(rows, counts, keys) + drawn)


def _remove(rows: csr_array, counts: NDArray[np.int64], keys: NDArray[np.float64]) -> csr_array:
    """Remove the `counts` `(users,)` entries of each row with the smallest `keys` `(nnz,)`."""
    lengths = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    order = np.lexsort((keys, owner))
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    kept = np.sort(order[place >= counts[owner]])
    return pair_matrix(owner[kept], rows.indices[kept], rows.shape)


def _draw(
    forbidden: csr_array, counts: NDArray[np.int64], most: NDArray[np.int64], seed: int
) -> csr_array:
    """Draw items for each row, `(n, items)` float32 binary, uniformly among those not forbidden.

    So many items as at 100%, `most` `(n,)`, are put in random order whatever the `counts` `(n,)` of
    items to draw are, so that a smaller draw is the beginning of a larger one.
    """
    chunk = max(1, _CHUNK_CELLS // max(1, int(most.max(initial=1))))
    users, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for start in range(0, len(counts), chunk):
        stop = min(start + chunk, len(counts))
        width = int(most[start:stop].max(initial=0))
        if width == 0:
            continue
        ordered = draw_negatives(forbidden[start:stop], width, derive_seed(seed, start))
        taken = np.arange(width)[None, :] < counts[start:stop, None]
        taken &= ordered >= 0
        users.append(start + np.nonzero(taken)[0])
        items.append(ordered[taken])
    return pair_matrix(np.concatenate(users), np.concatenate(items), forbidden.shape)
