"""Validation of a support: ∞-AE fitted on it ranks the held-out interactions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.distill.objective import inner_products, ridged_gram, support_shares
from perennial.models.base import Holdout
from perennial.models.holdout import validation_score
from perennial.models.mesh import round_up

_BLOCK_CELLS = 2**23
"""Scores that exist at a time."""


@dataclass(frozen=True)
class BestSupport:
    """A support with its validation.

    Attributes:
        support: `(μ, i)` as it is stored, padding included; sparse for a large catalogue.
        step: number of steps before it.
        validation: HR@100 in per cent; NaN without validation users.
        reg: λ by validation.
        loss: outer loss before the step; NaN at the start.
    """

    support: NDArray[np.float32] | csr_array
    step: int
    validation: float
    reg: float
    loss: float


@dataclass
class SupportValidator:
    """Computes HR@100 on a holdout, with λ chosen anew for each support.

    Attributes:
        holdout: validation users and their targets; columns as in the supports, without padding.
        num_items: d of the kernel.
        regs: the grid of λ.
        tie_seed: of the order of equal scores.
    """

    holdout: Holdout
    num_items: int
    regs: tuple[float, ...]
    tie_seed: int
    _best: int | None = field(default=None, init=False)

    def validate(self, support: Array | csr_array) -> tuple[float, float]:
        """Return the best HR@100 over the grid, in per cent, and its λ, for a support `(μ, i)`.

        The search starts from the λ that was best the last time, at first the middle of the grid,
        and goes in both directions as long as HR@100 rises: λ moves slowly, and each one costs as
        much as a step. The support is as it would be stored, with at least the holdout's columns,
        and exactly these if it is sparse. Without validation users it is NaN and the middle of the
        grid.
        """
        if len(self.holdout.users) == 0:
            return float("nan"), self.regs[len(self.regs) // 2]
        if self._best is None:
            self._best = len(self.regs) // 2
        products: _Products
        if isinstance(support, csr_array):
            products = _SparseProducts.of(support, self.holdout.contexts, self.num_items)
        else:
            products = _DenseProducts.of(support, self.holdout.contexts, self.num_items)
        scores = {self._best: self._score(products, self._best)}
        for direction in (-1, 1):
            place = self._best + direction
            while 0 <= place < len(self.regs):
                scores[place] = self._score(products, place)
                if scores[place] <= scores[place - direction]:
                    break
                place += direction
        self._best = max(scores, key=lambda place: scores[place])
        return scores[self._best], self.regs[self._best]

    def _score(self, products: "_Products", place: int) -> float:
        blocks = products.score_blocks(self.regs[place])
        return validation_score(blocks, self.holdout, "HR", k=100, tie_seed=self.tie_seed)


class _Products(Protocol):
    """Inner products of a support and the contexts, shared by all λ."""

    def score_blocks(self, reg: float) -> Iterator[NDArray[np.float32]]:
        """Yield the scores of all contexts; a block may be overwritten by the next."""


@dataclass(frozen=True)
class _DenseProducts:
    """Products of a support on the device with contexts made dense block by block.

    Attributes:
        support: `(μ, i)`.
        inner: `(μ, μ)` inner products of the support with itself.
        blocks: for each block of contexts `(b, μ)` inner products with the support, `(b,)` |x|².
        shape: of the contexts; the blocks have padding.
        num_items: d of the kernel.
    """

    support: Array
    inner: Array
    blocks: tuple[tuple[Array, Array], ...]
    shape: tuple[int, int]
    num_items: int

    @classmethod
    def of(cls, support: Array, contexts: csr_array, num_items: int) -> "_DenseProducts":
        count, width = contexts.shape
        # Few sizes, so that few are compiled.
        size = min(round_up(count, 256), max(1, _BLOCK_CELLS // support.shape[1]))
        blocks = []
        for start in range(0, count, size):
            rows = contexts[start : start + size].toarray()
            block = np.zeros((size, support.shape[1]), dtype=np.float32)
            block[: len(rows), :width] = rows
            blocks.append(_multiply_block(jnp.asarray(block), support))
        return cls(support, inner_products(support), tuple(blocks), contexts.shape, num_items)

    def score_blocks(self, reg: float) -> Iterator[NDArray[np.float32]]:
        left, width = self.shape
        for cross, squares in self.blocks:
            shares = _shares(cross, self.inner, squares, reg, float(self.num_items))
            scores = np.asarray(_scores(shares, self.support))[:left, :width]
            left -= len(scores)
            yield scores


@dataclass(frozen=True)
class _SparseProducts:
    """Products of a sparse support, whose scores are 0 where it has no entry, and all contexts.

    Attributes:
        cross: `(n, μ)` inner products of the contexts with the support.
        inner: `(μ, μ)` of the support with itself.
        squares: `(n,)` |x|² of the contexts.
        columns: `(c,)` where the support has entries.
        values: `(μ, c)` the support there.
        shape: of the contexts.
        num_items: d of the kernel.
    """

    cross: NDArray[np.float32]
    inner: NDArray[np.float32]
    squares: NDArray[np.float32]
    columns: NDArray[np.integer[Any]]
    values: NDArray[np.float32]
    shape: tuple[int, int]
    num_items: int

    @classmethod
    def of(cls, support: csr_array, contexts: csr_array, num_items: int) -> "_SparseProducts":
        columns = np.unique(support.indices)
        return cls(
            cross=(contexts @ support.T).toarray(),
            inner=(support @ support.T).toarray(),
            squares=np.asarray((contexts**2).sum(axis=1), dtype=np.float32).ravel(),
            columns=columns,
            values=support[:, columns].toarray(),
            shape=contexts.shape,
            num_items=num_items,
        )

    def score_blocks(self, reg: float) -> Iterator[NDArray[np.float32]]:
        shares = np.asarray(
            _shares(self.cross, self.inner, self.squares, reg, float(self.num_items))
        )
        count, width = self.shape
        size = max(1, _BLOCK_CELLS // width)
        # One array for all blocks: allocating zeros anew costs as much as the scores.
        scores = np.zeros((size, width), dtype=np.float32)
        for start in range(0, count, size):
            part = shares[start : start + size]
            scores[: len(part), self.columns] = part @ self.values
            yield scores[: len(part)]


@jax.jit
def _multiply_block(contexts: Array, support: Array) -> tuple[Array, Array]:
    return contexts @ support.T, (contexts**2).sum(axis=1)


@jax.jit
def _scores(shares: Array, support: Array) -> Array:
    return shares @ support


@jax.jit
def _shares(
    cross: Array, inner: Array, context_squares: Array, reg: float, num_items: float
) -> Array:
    squares, width = jnp.diagonal(inner), jnp.asarray(num_items)
    gram = ridged_gram(inner, squares, jnp.asarray(reg), width)
    return support_shares(gram, cross, context_squares, squares, width)
