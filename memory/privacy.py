"""How far a summary hides the users it was made of (paper section 6 offers it in their place).

Two questions. How near does each synthetic user come to a real one, beside how near real users come
to each other? And can somebody who knows a user's items tell from the summary whether that user was
in the log? Both answers are those of one simple attack: a better one may find more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata

LEVELS = (5, 25, 50, 75, 95)
"""Percentiles that are told of a distribution."""

NUM_RESAMPLES = 1000

_BLOCK_CELLS = 2**22
"""Pairs of users compared at a time."""

Floats = NDArray[np.float64]

Similarity = Callable[[Floats, Floats, Floats], Floats]
"""From shared items `(a, b)` and the numbers of items `(a, 1)` and `(1, b)`."""


def jaccard(shared: Floats, sizes: Floats, other_sizes: Floats) -> Floats:
    """|x ∩ y| / |x ∪ y|."""
    return shared / np.maximum(sizes + other_sizes - shared, 1)


def containment(shared: Floats, sizes: Floats, other_sizes: Floats) -> Floats:
    """|x ∩ y| / |x|: a long y may hold all of a short x, where Jaccard sees little in common."""
    return shared / np.maximum(sizes, 1)


SIMILARITIES: Mapping[str, Similarity] = {"Jaccard": jaccard, "containment": containment}


@dataclass(frozen=True)
class Nearness:
    """How near each row comes to another set of rows.

    Attributes:
        synthetic: `(μ,)` each synthetic user's Jaccard similarity to the nearest real one.
        real: `(h,)` the same of the real users of one half and those of the other.
    """

    synthetic: Floats
    real: Floats

    @property
    def nearer_than_real(self) -> float:
        """Share of the synthetic users that come nearer to a real user than 95% of those do."""
        if len(self.synthetic) == 0 or len(self.real) == 0:
            return float("nan")
        return float((self.synthetic > np.percentile(self.real, 95)).mean())


@dataclass(frozen=True)
class Membership:
    """A test of who was in the log.

    Attributes:
        similarity: what is compared, a key of `SIMILARITIES`.
        auc: the chance that a user of the log comes nearer to the summary than one who was left
            out; 0.5 tells nothing.
        low: of its 95% bootstrap interval.
        high: of the same.
    """

    similarity: str
    auc: float
    low: float
    high: float


def percentiles(values: Floats) -> tuple[float, ...]:
    """At `LEVELS`; NaN of nothing."""
    if len(values) == 0:
        return (float("nan"),) * len(LEVELS)
    return tuple(np.percentile(values, LEVELS).tolist())


def split_users(num_users: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two random halves of the users, each ascending; the first is the smaller of odd numbers."""
    order = np.random.default_rng(seed).permutation(num_users)
    half = num_users // 2
    return np.sort(order[:half]), np.sort(order[half:])


def nearest(rows: csr_array, others: csr_array, similarity: Similarity) -> Floats:
    """Each row's similarity to the one of the others that is nearest; weights count as ones.

    Args:
        rows: `(a, i)`.
        others: `(b, i)`.
        similarity: of two sets of items.

    Returns:
        `(a,)` in [0, 1]; 0 where there are no others.
    """
    found = np.zeros(rows.shape[0])
    if others.shape[0] == 0:
        return found
    ones, other_ones = _as_sets(rows), _as_sets(others).T.tocsc()
    sizes = np.diff(rows.indptr).astype(np.float64)
    other_sizes = np.diff(others.indptr).astype(np.float64)
    step = max(1, _BLOCK_CELLS // others.shape[0])
    for start in range(0, rows.shape[0], step):
        block = slice(start, start + step)
        shared = np.asarray((ones[block] @ other_ones).todense(), dtype=np.float64)
        found[block] = similarity(shared, sizes[block, None], other_sizes[None]).max(axis=1)
    return found


def measure_nearness(summary: csr_array, real: csr_array, seed: int) -> Nearness:
    """The nearest real user of each synthetic one, and of each real user in another half.

    Args:
        summary: `(μ, i)`.
        real: `(n, i)` whom it stands for.
        seed: of the halves.
    """
    one, other = split_users(real.shape[0], seed)
    return Nearness(nearest(summary, real, jaccard), nearest(real[one], real[other], jaccard))


def tell_members(
    summary: csr_array, members: csr_array, strangers: csr_array, similarity: str, seed: int
) -> Membership:
    """Tell who was in the log by the distance to the summary.

    Args:
        summary: `(μ, i)`, made of the members.
        members: `(a, i)`.
        strangers: `(b, i)` users like them that the summary was not made of.
        similarity: a key of `SIMILARITIES`.
        seed: of the bootstrap.

    Raises:
        ValueError: nobody on one side.
    """
    if members.shape[0] == 0 or strangers.shape[0] == 0:
        raise ValueError("there must be users on both sides")
    measure = SIMILARITIES[similarity]
    inside = nearest(members, summary, measure)
    outside = nearest(strangers, summary, measure)
    generator = np.random.default_rng(seed)
    drawn = [
        area_under_curve(
            generator.choice(inside, len(inside)), generator.choice(outside, len(outside))
        )
        for _ in range(NUM_RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    return Membership(similarity, area_under_curve(inside, outside), low, high)


def area_under_curve(inside: Floats, outside: Floats) -> float:
    """The chance that one of `inside` is above one of `outside`, ties by half (Mann–Whitney)."""
    ranks = rankdata(np.concatenate([inside, outside]))
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def _as_sets(rows: csr_array) -> csr_array:
    return csr_array(
        (np.ones(rows.nnz, dtype=np.float32), rows.indices, rows.indptr), shape=rows.shape
    )
