"""Exact top-k ranking of score blocks, hits against targets, hit rate and nDCG.

Everything here is on the path of every validation and every evaluation: no loop over users, no full
sort, and no copy of the scores larger than a cache-sized piece.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Integer
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.stream.negatives import mark_members

_PIECE_BYTES = 2 << 20
"""Scores ranked at a time, about a core's second-level cache."""
_ITEM_BITS = np.uint64(32)
_LOWEST = np.finfo(np.float32).min


def top_items(
    scores: Float32[np.ndarray, "b items"], excluded: csr_array | None, k: int, tie_seed: int
) -> Int32[np.ndarray, "b {k}"]:
    """Rank the best k ≥ 1 items of each row, −1 where a row has fewer items to rank.

    Equal scores are ordered by one seeded permutation of the items, never by item index, so that a
    model that does not distinguish items gains nothing from their numbers. Items with an entry in
    `excluded` `(b, items)` are left out. Scores are not changed.

    Raises:
        UserError: a score is NaN or infinite.
    """
    num_rows, num_items = scores.shape
    ranking = np.full((num_rows, k), -1, dtype=np.int32)
    if num_rows == 0 or num_items == 0:
        return ranking
    # The minimum and the maximum carry any NaN along.
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        raise UserError(
            "the model gives scores that are NaN or infinite, so nothing can be ranked; "
            "raise its regularisation or lower its learning rate"
        )
    by_rank = np.random.default_rng(tie_seed).permutation(num_items).astype(np.int32)
    ranks = np.empty(num_items, dtype=np.uint64)
    ranks[by_rank] = np.arange(num_items, dtype=np.uint64)
    depth = min(k, num_items)
    step = max(1, _PIECE_BYTES // (4 * num_items))
    for start in range(0, num_rows, step):
        piece = scores[start : start + step]
        if excluded is not None:
            piece = _mask(piece, excluded, start)
        ranking[start : start + step, :depth] = _rank_piece(piece, depth, ranks, by_rank)
    return ranking


def find_hits(ranking: Int32[np.ndarray, "b k"], targets: csr_array) -> Bool[np.ndarray, "b k"]:
    """Mark the ranked items that are targets, `(b, any width)` with an entry for each; never −1."""
    return mark_members(targets, ranking)


def hit_rate(
    hits: Bool[np.ndarray, "b k"], num_targets: Integer[np.ndarray, " b"]
) -> Float64[np.ndarray, " b"]:
    """Share of the possible hits in the first k: hits / min(k, number of targets), in [0, 1].

    The hits are those of a ranking, best rank first; targets that cannot be ranked count too, and
    each row has at least one.
    """
    rates: NDArray[np.float64] = hits.sum(axis=1) / np.minimum(hits.shape[1], num_targets)
    return rates


def ndcg(
    hits: Bool[np.ndarray, "b k"], num_targets: Integer[np.ndarray, " b"]
) -> Float64[np.ndarray, " b"]:
    """Discounted cumulative gain with 1 / log2(rank + 1), over the best; see `hit_rate`."""
    k = hits.shape[1]
    gains = 1.0 / np.log2(np.arange(k) + 2.0)
    ideal = np.cumsum(gains)[np.minimum(k, num_targets) - 1]
    # Row sums in one fixed order, where a matrix product's would depend on the size of the block.
    values: NDArray[np.float64] = np.where(hits, gains, 0.0).sum(axis=1) / ideal
    return values


def _mask(piece: NDArray[np.float32], excluded: csr_array, start: int) -> NDArray[np.float32]:
    """Copy a piece with its excluded items at −∞, below every finite score."""
    offsets = excluded.indptr[start : start + len(piece) + 1]
    rows = np.repeat(np.arange(len(piece)), np.diff(offsets))
    masked = piece.copy()
    masked[rows, excluded.indices[offsets[0] : offsets[-1]]] = -np.inf
    return masked


def _rank_piece(
    piece: NDArray[np.float32], depth: int, ranks: NDArray[np.uint64], by_rank: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Sort the few items per row that can be among the best `depth`; −∞ is not ranked."""
    num_rows, num_items = piece.shape
    threshold = np.maximum(_lower_bound(piece, depth), _LOWEST)
    candidates = np.flatnonzero(piece >= threshold[:, None])
    rows, items = np.divmod(candidates, num_items)
    # One integer orders by score and then by tie, and contains the item.
    keys = (_sortable(piece.reshape(-1)[candidates]) << _ITEM_BITS) | ranks[items]

    counts = np.bincount(rows, minlength=num_rows)
    width = max(int(counts.max()), depth)
    shifts = np.arange(num_rows) * width - (np.cumsum(counts) - counts)
    padded = np.zeros(num_rows * width, dtype=np.uint64)
    padded[np.arange(len(keys)) + shifts[rows]] = keys
    padded = padded.reshape(num_rows, width)
    if width > 4 * depth:
        padded = np.partition(padded, width - depth, axis=1)[:, width - depth :]
    padded.sort(axis=1)
    best = padded[:, ::-1][:, :depth]
    items_of_best = by_rank[(best & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    # Key 0 is padding: the lowest finite score has a positive sortable form.
    return np.where(best == 0, np.int32(-1), items_of_best)


def _lower_bound(piece: NDArray[np.float32], depth: int) -> NDArray[np.float32]:
    """A score per row that at least `depth` items reach.

    The `depth`-th best of the maxima of disjoint groups is one, and far cheaper than the `depth`-th
    best item. Groups are strided: items are numbered in order of appearance, so neighbours are
    popular together and would crowd into few groups.
    """
    num_rows, num_items = piece.shape
    group = min(16, max(1, num_items // (8 * depth)))
    num_groups = num_items // group
    maxima = piece[:, : num_groups * group].reshape(num_rows, group, num_groups).max(axis=1)
    return np.partition(maxima, num_groups - depth, axis=1)[:, num_groups - depth]


def _sortable(scores: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the scores; −0 and 0 become equal."""
    bits = (scores + np.float32(0)).view(np.uint32)
    flip = np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return (bits ^ flip).astype(np.uint64)
