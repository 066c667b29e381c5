"""Judging a support by what ∞-AE fitted on it ranks for the held-out interactions."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from memory.objective import inner_products, ridged_gram, support_shares
from models.validation import HoldOut, validation_score

_BLOCK_CELLS = 2**23
"""Scores at a time."""


@dataclass(frozen=True)
class Best:
    """The support that validated best so far.

    Attributes:
        support: `(μ, i)` as it is stored, padding included; sparse where a catalogue is large.
        step: after how many steps.
        validation: HR@100 in per cent; NaN if nobody could be judged.
        reg: λ by validation.
        loss: outer loss before the step; NaN at the start.
    """

    support: NDArray[np.float32] | csr_array
    step: int
    validation: float
    reg: float
    loss: float


@dataclass
class Judge:
    """HR@100 on a hold-out, with λ chosen again each time.

    Attributes:
        held: who is judged, on what; columns as in the supports, without padding.
        num_items: d of the kernel.
        regs: the grid of λ.
        tie_seed: of the order of equal scores.
    """

    held: HoldOut
    num_items: int
    regs: tuple[float, ...]
    tie_seed: int
    _best: int | None = field(default=None, init=False)

    def judge(self, support: Array | csr_array) -> tuple[float, float]:
        """The best HR@100 over the grid, in per cent, and its λ.

        From the λ that was best the last time, at first the middle of the grid, it goes on in both
        directions as long as that helps: λ moves slowly, and each costs as much as a step.

        Args:
            support: `(μ, i)` as it would be stored, `i` at least the hold-out's columns; exactly
                these where it is sparse.

        Returns:
            NaN and the middle of the grid if nobody is judged.
        """
        if len(self.held.users) == 0:
            return float("nan"), self.regs[len(self.regs) // 2]
        if self._best is None:
            self._best = len(self.regs) // 2
        met = self._meet_sparse(support) if isinstance(support, csr_array) else self._meet(support)
        scores = {self._best: self._score(met, self._best)}
        for direction in (-1, 1):
            place = self._best + direction
            while 0 <= place < len(self.regs):
                scores[place] = self._score(met, place)
                if scores[place] <= scores[place - direction]:
                    break
                place += direction
        self._best = max(scores, key=lambda place: scores[place])
        return scores[self._best], self.regs[self._best]

    def _score(self, met: "_Met", place: int) -> float:
        blocks = self._blocks(met, self.regs[place])
        return validation_score(blocks, self.held, "HR", k=100, tie_seed=self.tie_seed)

    def _meet(self, support: Array) -> "_Met":
        """A support on the device and the contexts, made dense block by block."""
        contexts = self.held.contexts
        count, width = contexts.shape
        # Few sizes, so that few are compiled.
        size = min(-(-count // 256) * 256, max(1, _BLOCK_CELLS // support.shape[1]))
        met = _Met(support, inner_products(support), [], [], [])
        for start in range(0, count, size):
            rows = contexts[start : start + size].toarray()
            block = np.zeros((size, support.shape[1]), dtype=np.float32)
            block[: len(rows), :width] = rows
            cross, squares = _meet_block(jnp.asarray(block), support)
            met.add(cross, squares, len(rows))
        return met

    def _meet_sparse(self, support: csr_array) -> "_Met":
        """A sparse support and all contexts."""
        contexts = self.held.contexts
        squares = np.asarray((contexts**2).sum(axis=1)).ravel()
        inner = jnp.asarray((support @ support.T).toarray())
        met = _Met(support, inner, [], [], [])
        cross = jnp.asarray((contexts @ support.T).toarray())
        met.add(cross, jnp.asarray(squares), contexts.shape[0])
        return met

    def _blocks(self, met: "_Met", reg: float) -> Iterator[NDArray[np.float32]]:
        """Scores of all contexts; a block of a sparse support is overwritten by the next."""
        for cross, squares, count in zip(met.cross, met.squares, met.counts, strict=True):
            shares = _shares(cross, met.inner, squares, reg, float(self.num_items))
            if isinstance(met.support, csr_array):
                yield from _sparse_scores(np.asarray(shares)[:count], met.support)
            else:
                scores = np.asarray(_scores(shares, met.support))
                yield scores[:count, : self.held.contexts.shape[1]]


@dataclass(frozen=True)
class _Met:
    """Inner products of a support with itself and the contexts, which every λ goes on from.

    Attributes:
        support: `(μ, i)`.
        inner: `(μ, μ)`.
        cross: for each block of contexts `(b, μ)`.
        squares: for each block `(b,)`, |x|².
        counts: contexts in each block; the others are padding.
    """

    support: Array | csr_array
    inner: Array
    cross: list[Array]
    squares: list[Array]
    counts: list[int]

    def add(self, cross: Array, squares: Array, count: int) -> None:
        """One more block."""
        self.cross.append(cross)
        self.squares.append(squares)
        self.counts.append(count)


def _sparse_scores(
    shares: NDArray[np.float32], support: csr_array
) -> Iterator[NDArray[np.float32]]:
    """Scores from shares, which are 0 where the support has no entry."""
    columns = np.unique(support.indices)
    values = support[:, columns].toarray()
    size = max(1, _BLOCK_CELLS // support.shape[1])
    # One array for all blocks: making its zeros anew costs as much as the scores.
    scores = np.zeros((size, support.shape[1]), dtype=np.float32)
    for start in range(0, len(shares), size):
        part = shares[start : start + size]
        scores[: len(part), columns] = part @ values
        yield scores[: len(part)]


@jax.jit
def _meet_block(contexts: Array, support: Array) -> tuple[Array, Array]:
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
