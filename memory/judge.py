"""Judging a support by what ∞-AE fitted on it ranks for the held-out interactions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from memory.objective import ridged_gram, support_predictions, support_shares
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
        scores = {self._best: self._score(support, self._best)}
        for direction in (-1, 1):
            place = self._best + direction
            while 0 <= place < len(self.regs):
                scores[place] = self._score(support, place)
                if scores[place] <= scores[place - direction]:
                    break
                place += direction
        self._best = max(scores, key=lambda place: scores[place])
        return scores[self._best], self.regs[self._best]

    def _score(self, support: Array | csr_array, place: int) -> float:
        reg = self.regs[place]
        sparse = isinstance(support, csr_array)
        blocks = self._sparse_blocks(support, reg) if sparse else self._blocks(support, reg)
        return validation_score(blocks, self.held, "HR", k=100, tie_seed=self.tie_seed)

    def _blocks(self, support: Array, reg: float) -> Iterator[NDArray[np.float32]]:
        contexts = self.held.contexts
        count, width = contexts.shape
        # Few sizes, so that few are compiled.
        size = min(-(-count // 256) * 256, max(1, _BLOCK_CELLS // support.shape[1]))
        for start in range(0, count, size):
            block = np.zeros((size, support.shape[1]), dtype=np.float32)
            rows = contexts[start : start + size].toarray()
            block[: len(rows), :width] = rows
            scores = _predict(jnp.asarray(block), support, reg, float(self.num_items))
            yield np.asarray(scores)[: len(rows), :width]

    def _sparse_blocks(self, support: csr_array, reg: float) -> Iterator[NDArray[np.float32]]:
        """The same for a sparse support, whose scores are 0 where it has no entry.

        A block is overwritten by the next.
        """
        contexts = self.held.contexts
        shares = np.asarray(
            _shares(
                (contexts @ support.T).toarray(),
                (support @ support.T).toarray(),
                np.asarray((contexts**2).sum(axis=1)).ravel(),
                reg,
                float(self.num_items),
            )
        )
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
def _shares(
    cross: Array, inner: Array, context_squares: Array, reg: float, num_items: float
) -> Array:
    squares, width = jnp.diagonal(inner), jnp.asarray(num_items)
    gram = ridged_gram(inner, squares, jnp.asarray(reg), width)
    return support_shares(gram, cross, context_squares, squares, width)


@partial(jax.jit)
def _predict(contexts: Array, support: Array, reg: float, num_items: float) -> Array:
    return support_predictions(contexts, support, jnp.asarray(reg), jnp.asarray(num_items))
