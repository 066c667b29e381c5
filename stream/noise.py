"""Interactions that users never had, in place of or beside some that they had: noise in a log."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.stream.evaluation import binary, pair_matrix
from perennial.stream.negatives import draw_negatives
from perennial.stream.seeds import derive_seed

NoiseKind = Literal["swap", "flip"]
"""In per cent of what: `swap` of a user's own items, `flip` of all items there are."""

_CHUNK_CELLS = 1 << 24
"""Items drawn at a time: users × the most that one of them may get."""


@dataclass(frozen=True)
class Noise:
    """How much of a log is not so.

    Attributes:
        percent: x, between 0 and 100.
        kind: `swap`: x% of each user's items are removed, at random, and as many that the user does
            not have are put in, each as likely as any other, so that a user has as many as before.
            `flip`: x% of all items are drawn for each user, and those drawn are removed where the
            user has them and put in where not, as the paper has it.
    """

    percent: float = 0.0
    kind: NoiseKind = "swap"

    def __post_init__(self) -> None:
        if not 0.0 <= self.percent <= 100.0:
            raise UserError(f"noise of {self.percent:g}% is not between 0 and 100%")


def add_noise(rows: csr_array, noise: Noise, seed: int) -> csr_array:
    """Change rows at random.

    Of n items x% is rarely a whole number: each user's is rounded up or down at random, so that it
    is x% on average. What changes at some x changes at any larger x too, with the same seed.

    Args:
        rows: `(users, items)` float32 binary without duplicates.
        noise: how much.
        seed: of the draw.

    Returns:
        The same shape, binary, in canonical form. `swap` changes fewer where a user has so many
        items that not enough others are left.
    """
    rows = binary(rows)
    if noise.percent == 0:
        return rows
    generator = np.random.default_rng(derive_seed(seed, "noise", noise.kind))
    rounding = generator.random(rows.shape[0])
    luck = generator.random(rows.nnz)
    lengths = np.diff(rows.indptr).astype(np.int64)
    of = lengths if noise.kind == "swap" else np.full_like(lengths, rows.shape[1])
    counts = np.floor(noise.percent * of / 100 + rounding).astype(np.int64)
    counts = np.minimum(counts, of)
    drawn_seed = derive_seed(seed, "noise", noise.kind, "drawn")
    if noise.kind == "flip":
        nothing = csr_array(rows.shape, shape=rows.shape, dtype=np.float32)
        drawn = _draw(nothing, counts, of, drawn_seed)
        return binary(rows + drawn - 2 * rows.multiply(drawn))
    counts = np.minimum(counts, rows.shape[1] - lengths)
    drawn = _draw(rows, counts, of, drawn_seed)
    return binary(_remove(rows, counts, luck) + drawn)


def _remove(rows: csr_array, counts: NDArray[np.int64], luck: NDArray[np.float64]) -> csr_array:
    """Each row without its unluckiest entries."""
    lengths = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    order = np.lexsort((luck, owner))
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    kept = np.sort(order[place >= counts[owner]])
    return pair_matrix(owner[kept], rows.indices[kept], rows.shape)


def _draw(
    forbidden: csr_array, counts: NDArray[np.int64], most: NDArray[np.int64], seed: int
) -> csr_array:
    """So many items for each row, none of them forbidden, all as likely.

    Args:
        forbidden: `(n, items)`.
        counts: `(n,)` items to draw.
        most: `(n,)` items that might be drawn at 100%; they are put in order whatever `counts` is,
            so that fewer are the first of more.
        seed: of the draw.
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
