"""Rows that models are tested on, and what a model says of contexts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, FittedModel, Recipe, TrainingRows
from perennial.models.mvae.recipe import MVAE


def rows_of(matrix: csr_array, **changes: object) -> TrainingRows:
    """Users of one period, each with weight 1, but for some fields."""
    num_rows = matrix.shape[0]
    rows = TrainingRows(
        interactions=matrix,
        weights=np.ones(num_rows),
        replayed=np.zeros(num_rows, dtype=np.bool_),
        last_period=np.ones(num_rows, dtype=np.int32),
    )
    return replace(rows, **changes)


def rows_of_dense(dense, weights=None, **changes):
    """Users of one period from a dense matrix, with weights."""
    rows = rows_of(csr_array(np.asarray(dense, dtype=np.float32)), **changes)
    return rows if weights is None else replace(rows, weights=np.asarray(weights, dtype=np.float64))


def dense_rows(num_rows, num_items=8, seed=0, *, soft=False, most=0.8):
    """Items from a popular one, which a share of `most` has, to one that nobody has."""
    generator = np.random.default_rng(seed)
    popularity = np.linspace(most, 0.1, num_items)
    dense = (generator.random((num_rows, num_items)) < popularity).astype(np.float32)
    dense[:, -1] = 0
    return dense * generator.random(dense.shape).astype(np.float32) if soft else dense


@dataclass(frozen=True)
class Oracle:
    """A teacher that answers a fixed function of the row, which is no row itself."""

    num_items: int
    mean: float = 0.2
    deviation: float = 0.5
    report: Mapping[str, Any] = field(default_factory=dict)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        assert contexts.shape[1] == self.num_items
        square = (self.num_items, self.num_items)
        mix = np.random.default_rng(8).normal(self.mean, self.deviation, square)
        for start in range(0, contexts.shape[0], block_rows):
            yield (contexts[start : start + block_rows].toarray() @ mix).astype(np.float32)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        raise NotImplementedError


def taught_rows(num_new=25, num_old=15, known=24, num_items=30, *, weight=None, soft=False):
    """New rows and, in no order, replayed ones with a teacher; weights are drawn unless given."""
    generator = np.random.default_rng(100)
    dense = dense_rows(num_new + num_old, num_items, most=0.5)
    replayed = generator.permutation(num_new + num_old) >= num_new
    dense[np.ix_(replayed, np.arange(num_items) >= known)] = 0
    if soft:
        dense[replayed] *= generator.random((num_old, num_items)).astype(np.float32)
    weights = generator.uniform(0.3, 3.0, len(dense))
    return rows_of_dense(
        dense,
        weights if weight is None else np.where(replayed, weight, 1.0),
        replayed=replayed,
        last_period=np.where(replayed, 1, 2).astype(np.int32),
        teacher=Oracle(known),
    )


def planted(num_rows: int = 160, num_items: int = 50, seed: int = 0) -> csr_array:
    """Rows that take half of the items of one of five blocks, one block being far the largest."""
    generator = np.random.default_rng(seed)
    blocks = generator.choice(5, size=num_rows, p=[0.4, 0.15, 0.15, 0.15, 0.15])
    member = blocks[:, None] == np.arange(num_items)[None, :] % 5
    return csr_array((member & (generator.random(member.shape) < 0.5)).astype(np.float32))


def scores_of(model, contexts, block_rows=1000):
    """All scores, from blocks that are as they should be."""
    rows = contexts if isinstance(contexts, csr_array) else csr_array(np.asarray(contexts, "f4"))
    blocks = list(model.score_blocks(rows, block_rows))
    assert all(len(block) <= block_rows and block.dtype == np.float32 for block in blocks)
    return np.concatenate([np.zeros((0, model.num_items), np.float32), *blocks])


def planted_hits(model: FittedModel, num_items: int = 50) -> tuple[float, float]:
    """Share of hidden items of new planted rows in the best five, of a model and of popularity."""
    fresh = planted(num_items=num_items, seed=9)
    contexts = fresh.copy()
    contexts.data[np.random.default_rng(2).random(contexts.nnz) < 0.3] = 0
    contexts.eliminate_zeros()
    hidden = (fresh - contexts).toarray() > 0
    possible = np.minimum(5, hidden.sum(axis=1)).sum()

    def share_hit(scores: NDArray[np.float32]) -> float:
        masked = np.where(contexts.toarray() > 0, -np.inf, scores)
        best = np.argsort(-masked, axis=1)[:, :5]
        return float(np.take_along_axis(hidden, best, axis=1).sum() / possible)

    popularity = np.tile(np.asarray(planted(num_items=num_items).sum(axis=0)), (160, 1))
    return share_hit(scores_of(model, contexts)), share_hit(popularity)


QUICK_MVAE = MVAE(
    hidden=24,
    latent=8,
    learning_rate=0.01,
    batch_size=64,
    max_updates=60,
    check_every=10,
    patience=2,
)
"""A small network that learns the planted rows."""


def check_heavy_rows(recipe: Recipe) -> None:
    """Two groups with different items: more weight for one raises the scores of its items."""
    matrix = csr_array(np.kron(np.eye(2), np.ones((80, 25))).astype(np.float32))
    empty = csr_array((1, 50), dtype=np.float32)
    even, heavy = (
        scores_of(recipe.fit(rows_of(matrix, weights=weights), FitOptions(seed=1)), empty)[0]
        for weights in (np.ones(160), np.repeat([1.0, 9.0], 80))
    )
    gain = heavy - even
    assert gain[25:].mean() > gain[:25].mean() + 0.2
