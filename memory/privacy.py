"""Privacy of a summary towards the users that it was made of (paper section 6).

Two measurements: the similarity of each synthetic user to the nearest real one, compared with that
among real users; and a membership test, which decides from a user's items and the summary whether
the user was in the log. Both are simple attacks: a better one may find more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata

LEVELS = (5, 25, 50, 75, 95)
"""Percentiles that are reported of a distribution."""

NUM_RESAMPLES = 1000

_BLOCK_CELLS = 2**22
"""Pairs of users compared at a time."""

Floats = NDArray[np.float64]

Similarity = Callable[[Floats, Floats, Floats], Floats]
"""Function of the numbers of shared items `(a, b)` and of items `(a, 1)` and `(1, b)`."""


def jaccard(shared: Floats, sizes: Floats, other_sizes: Floats) -> Floats:
    """Compute |x ∩ y| / |x ∪ y|, `(a, b)`."""
    return shared / np.maximum(sizes + other_sizes - shared, 1)


def containment(shared: Floats, sizes: Floats, other_sizes: Floats) -> Floats:
    """Compute |x ∩ y| / |x|, `(a, b)`: high if a long y has all of a short x, unlike Jaccard."""
    return shared / np.maximum(sizes, 1)


SIMILARITIES: Mapping[str, Similarity] = {"Jaccard": jaccard, "containment": containment}


@dataclass(frozen=True)
class Nearness:
    """Jaccard similarities to the nearest real user.

    `synthetic` `(μ,)` are those of synthetic users, and `real` `(h,)` those of real users of one
    half among the other half.
    """

    synthetic: Floats
    real: Floats

    @property
    def nearer_than_real(self) -> float:
        """Share of the synthetic users that are nearer to a real user than 95% of real users."""
        if len(self.synthetic) == 0 or len(self.real) == 0:
            return float("nan")
        return float((self.synthetic > np.percentile(self.real, 95)).mean())


@dataclass(frozen=True)
class Membership:
    """Result of a membership test by one of `SIMILARITIES`.

    `auc` is the probability that a user of the log is nearer to the summary than one who was left
    out; 0.5 is chance. `low` and `high` are the ends of its 95% bootstrap interval.
    """

    similarity: str
    auc: float
    low: float
    high: float


def percentiles(values: Floats) -> tuple[float, ...]:
    """Compute the percentiles at `LEVELS` of values `(n,)`; NaN without values."""
    if len(values) == 0:
        return (float("nan"),) * len(LEVELS)
    return tuple(np.percentile(values, LEVELS).tolist())


def split_users(num_users: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split users into random halves `(n,)`, ascending; of an odd number the first is smaller."""
    order = np.random.default_rng(seed).permutation(num_users)
    half = num_users // 2
    return np.sort(order[:half]), np.sort(order[half:])


def nearest(rows: csr_array, others: csr_array, similarity: Similarity) -> Floats:
    """Compute the similarity of each of rows `(a, i)` to the nearest of others `(b, i)`.

    It is `(a,)` in [0, 1]; 0 where there are no others. Weights count as ones.
    """
    similarities = np.zeros(rows.shape[0])
    if others.shape[0] == 0:
        return similarities
    ones, other_ones = _as_sets(rows), _as_sets(others).T.tocsc()
    sizes = np.diff(rows.indptr).astype(np.float64)
    other_sizes = np.diff(others.indptr).astype(np.float64)
    step = max(1, _BLOCK_CELLS // others.shape[0])
    for start in range(0, rows.shape[0], step):
        block = slice(start, start + step)
        shared = np.asarray((ones[block] @ other_ones).todense(), dtype=np.float64)
        similarities[block] = similarity(shared, sizes[block, None], other_sizes[None]).max(axis=1)
    return similarities


def measure_nearness(summary: csr_array, real: csr_array, seed: int) -> Nearness:
    """Measure how near to real users `(n, i)` synthetic ones `(μ, i)`, and half of them, come."""
    one, other = split_users(real.shape[0], seed)
    return Nearness(nearest(summary, real, jaccard), nearest(real[one], real[other], jaccard))


def membership_test(
    summary: csr_array, members: csr_array, strangers: csr_array, similarity: str, seed: int
) -> Membership:
    """Test how well similarity to the summary separates users of the log from others.

    The summary `(μ, i)` was made of the members `(a, i)` and not of the strangers `(b, i)`, who are
    similar users. `similarity` is a key of `SIMILARITIES`.

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
    """Compute P(inside > outside) + P(inside = outside)/2 (Mann–Whitney)."""
    ranks = rankdata(np.concatenate([inside, outside]))
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def _as_sets(rows: csr_array) -> csr_array:
    return csr_array(
        (np.ones(rows.nnz, dtype=np.float32), rows.indices, rows.indptr), shape=rows.shape
    )
