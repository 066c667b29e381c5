"""ADER's choice of exemplars: quotas by frequency, herding within a group.

Mi, Lin & Faltings, RecSys 2020, section 3.2, with the details of their code (design note 10).
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1024
"""Rows whose similarities are asked for at a time, in whole groups."""

Similarity = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Numbers of rows `(n,)` -> `(n, n)` inner products of their representations of length 1."""


def herd(gram: NDArray[np.float64], quota: int) -> NDArray[np.int64]:
    """Choose rows whose mean stays close to the mean of all.

    With representations D of length 1 and mean μ: w = μ; again and again j = argmax ⟨w, D_j⟩, which
    is kept if it is new, and w += μ − D_j; until the quota is met, or after 1.1 × quota turns.
    Only inner products are needed, so a kernel's features will do (kernel herding).

    Args:
        gram: `(n, n)` ⟨D_i, D_j⟩.
        quota: how many, ≤ n.

    Returns:
        `(≤ quota,)` row numbers in the order they were chosen.
    """
    toward_mean = gram.mean(axis=1)
    attraction = toward_mean.copy()
    chosen: list[int] = []
    for _ in range(math.ceil(1.1 * quota)):
        if len(chosen) == quota:
            break
        best = int(np.argmax(attraction))
        if best not in chosen:
            chosen.append(best)
        attraction += toward_mean - gram[best]
    return np.array(chosen, dtype=np.int64)


def draw_quotas(
    counts: NDArray[np.int64], budget: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Share a budget among groups: one multinomial draw by size, at most what each group has.

    Args:
        counts: `(g,)` > 0, candidates of each group.
        budget: M, ≥ 1.
        generator: draws.

    Returns:
        `(g,)`; the sum is at most M, and less where a group is drawn more often than it has rows.
    """
    drawn = generator.multinomial(budget, counts / counts.sum())
    quotas: NDArray[np.int64] = np.minimum(drawn, counts).astype(np.int64)
    return quotas


def herd_groups(
    groups: NDArray[np.int64], budget: int, similarity: Similarity, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Choose exemplars among candidates, group by group.

    Args:
        groups: `(n,)` the group of each candidate.
        budget: M.
        similarity: of candidates by number.
        generator: draws the quotas.

    Returns:
        `(≤ budget,)` numbers of candidates, ascending.
    """
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    _, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    quotas = draw_quotas(counts.astype(np.int64), budget, generator)
    order = np.argsort(group_of, kind="stable")
    members = np.split(order, np.cumsum(counts)[:-1])
    chosen = [np.zeros(0, dtype=np.int64)]
    for first, last in _chunks(counts):
        wanted = [place for place in range(first, last) if quotas[place]]
        chosen.extend(members[place] for place in wanted if counts[place] == 1)
        herds = [place for place in wanted if counts[place] > 1]
        if not herds:
            continue
        gram = similarity(np.concatenate([members[place] for place in herds]))
        start = 0
        for place in herds:
            stop = start + int(counts[place])
            kept = herd(gram[start:stop, start:stop], int(quotas[place]))
            chosen.append(members[place][kept])
            start = stop
    return np.sort(np.concatenate(chosen))


def _chunks(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of groups with at most `_CHUNK` rows together; a larger group is one of its own."""
    first, rows = 0, 0
    for place, count in enumerate(counts.tolist()):
        if rows and rows + count > _CHUNK:
            yield first, place
            first, rows = place, 0
        rows += count
    yield first, len(counts)
