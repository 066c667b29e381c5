"""The optimisation for a large catalogue, in item blocks and in the host's memory.

Parameters, moment and gradient are the only arrays as wide as the catalogue: 12 bytes for each item
of each synthetic user, 6 GB for 500 of them and a million items. All else is sparse, small, or made
one block of items at a time: the cosine loss needs inner products only. Each step draws its batch
from all users, as none of them has to be resident.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.distill.objective import SupportProducts, TargetBatch, loss_and_slopes
from perennial.memory.distill.parametrisation import MOMENTUM, update_norm
from perennial.memory.distill.problem import DistillationProblem
from perennial.memory.distill.step import load_arrays_and_best, save_arrays_and_best
from perennial.memory.distill.top_k import GROUP, group_maxima, largest_of_columns
from perennial.memory.distill.validation import BestSupport
from perennial.models.mesh import round_up
from perennial.storage.base import derive_seed
from perennial.storage.parallel import run_all

BLOCK = 4096
"""Items of a block, a multiple of `GROUP`; 500 parameters of each take 8 MiB."""

_USERS = 8192
"""Users of one thread's product."""

_SMALLEST_NORM = 1e-6
"""Added to a gradient's norm, as optax does."""

Floats = NDArray[np.float32]
Result = TypeVar("Result")


class BlockedOptimisation:
    """The `Optimisation` of `SparseWeights` under the cosine loss, in item blocks."""

    def __init__(self, problem: DistillationProblem) -> None:
        self._problem = problem
        self._blocks = ItemBlocks(problem.narrow)
        self._targets = problem.targets
        self._squares = np.asarray((problem.narrow**2).sum(axis=1), dtype=np.float64).ravel()
        self._target_squares = self._targets.squares()
        shape = (self._blocks.num_padded, problem.num_synthetic_users)
        self._parameters = np.empty(shape, dtype=np.float32)
        self._maxima = np.empty((shape[0] // GROUP, shape[1]), dtype=np.float32)
        self._moment = np.zeros(shape, dtype=np.float32)
        self._gradient: Floats | None = None
        self._num_steps = 0
        self._loss = float("nan")
        self._fill_parameters()

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Resume from a checkpoint; see `Optimisation`."""
        checkpoint = load_arrays_and_best(path, self._problem.fingerprint())
        if checkpoint is None:
            return None
        arrays, best, step, worse = checkpoint
        self._parameters, self._moment = arrays["parameters"], arrays["moment"]
        self._maxima = group_maxima(self._parameters)
        self._num_steps = step
        return best, step, worse

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write a checkpoint; the gradient is freed for the copies that writing takes."""
        self._gradient = None
        arrays = {"parameters": self._parameters, "moment": self._moment}
        save_arrays_and_best(path, self._problem.fingerprint(), arrays, best, step, worse)

    def load_users(self, step: int) -> None:
        """Do nothing: every step draws from all users."""

    def step(self) -> None:
        """Draw users, compute the gradient block by block, and update the parameters."""
        generator = np.random.default_rng(derive_seed(self._problem.seed, "batch", self._num_steps))
        size = min(self._problem.batch, self._problem.num_users)
        drawn = np.sort(generator.permutation(self._problem.num_users)[:size])
        norm = self._compute_gradient(drawn)
        self._num_steps += 1
        self._update(norm)

    def validate(self, step: int) -> BestSupport:
        """Validate the support as it would be stored; see `Optimisation`."""
        support = self.support()
        if self._problem.settings.export == "hard":
            support.data[:] = 1
        validation, reg = self._problem.validator.validate(support)
        return BestSupport(support, step, validation, reg, self._loss)

    def support(self) -> csr_array:
        """Return the k largest weights of each row, `(μ, items that occur)`."""
        most = self._problem.settings.max_items
        assert most is not None  # noqa: S101 - `takes_blocks` requires it
        items, owners, values = largest_of_columns(self._parameters, self._maxima, most)
        shape = (self._problem.num_synthetic_users, len(self._problem.items))
        support = csr_array((values, (owners, items)), shape=shape)
        support.sort_indices()
        return support

    def _fill_parameters(self) -> None:
        """Start from real users' targets, scaled."""
        problem = self._problem
        drawn = problem.initial_users()
        slopes = problem.settings.start_scale * np.eye(len(drawn), dtype=np.float32)
        coefficients = self._targets.coefficients(drawn, slopes)

        def fill(block: slice) -> None:
            self._parameters[block] = np.clip(self._blocks.combine(coefficients, block), 0, 1)
            self._update_maxima(block)

        self._over_blocks(fill)

    def _compute_gradient(self, drawn: NDArray[np.int64]) -> float:
        """Write the gradient of the outer loss on some users, `(u,)`, and return its norm."""
        support = self.support()
        columns = np.unique(support.indices).astype(np.int64)
        values = np.ascontiguousarray(support[:, columns].toarray().T)
        similar = self._blocks.inner(columns, values)
        cross, inner, wanted = self._slopes(drawn, support, similar)
        coefficients = self._targets.coefficients(drawn, wanted)
        coefficients[drawn] += cross
        spread = values @ (inner + inner.T)
        penalty = self._penalty(support)
        if self._gradient is None:
            self._gradient = np.empty_like(self._parameters)
        gradient = self._gradient

        def fill(block: slice) -> float:
            part = self._blocks.combine(coefficients, block)
            first, last = np.searchsorted(columns, (block.start, block.stop))
            part[columns[first:last] - block.start] += spread[first:last]
            part += penalty
            gradient[block] = part
            return float(np.einsum("ij,ij->", part, part, dtype=np.float64))

        return math.sqrt(sum(self._over_blocks(fill)))

    def _slopes(
        self, drawn: NDArray[np.int64], support: csr_array, similar: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return the slopes of the loss in the inner products, ordered as `SupportProducts`."""
        double = support.astype(np.float64)
        training = self._problem.holdout.training
        with jax.enable_x64(True):
            products = SupportProducts(
                cross=jnp.asarray(similar[drawn], jnp.float64),
                inner=jnp.asarray((double @ double.T).toarray()),
                wanted=jnp.asarray(self._targets.inner(drawn, similar), jnp.float64),
            )
            batch = TargetBatch(
                context_squares=jnp.asarray(self._squares[drawn]),
                target_squares=jnp.asarray(self._target_squares[drawn]),
                weights=jnp.asarray(training.weights[drawn]),
                num_items=jnp.asarray(float(training.num_items)),
            )
            reg = jnp.asarray(self._problem.settings.inner_reg)
            loss, slopes = loss_and_slopes(products, batch, reg)
            self._loss = float(loss) + float(support.sum()) * self._penalty(support)
            cross, inner, wanted = (np.asarray(slope, dtype=np.float32) for slope in slopes)
            return cross, inner, wanted

    def _penalty(self, support: csr_array) -> float:
        """Return the slope of the L1 penalty in each entry."""
        settings = self._problem.settings
        return settings.sparsity_weight / (int(support.shape[0]) * self._problem.row_sum)

    def _update(self, norm: float) -> None:
        """Make a step of `SparseWeights`' optimiser in place, overwriting the gradient."""
        settings, gradient = self._problem.settings, self._gradient
        assert gradient is not None  # noqa: S101
        shape = self._parameters.shape[::-1]
        pace = (1 - MOMENTUM) * update_norm(settings, shape) / (norm + _SMALLEST_NORM)
        # Correct the bias of an average that starts at zero.
        rate = -settings.learning_rate / (1 - MOMENTUM**self._num_steps)

        def update(block: slice) -> None:
            change, moment = gradient[block], self._moment[block]
            moment *= np.float32(MOMENTUM)
            change *= np.float32(pace)
            moment += change
            np.multiply(moment, np.float32(rate), out=change)
            parameters = self._parameters[block]
            parameters += change
            np.clip(parameters, 0, 1, out=parameters)
            self._update_maxima(block)

        self._over_blocks(update)

    def _update_maxima(self, block: slice) -> None:
        groups = slice(block.start // GROUP, block.stop // GROUP)
        self._maxima[groups] = group_maxima(self._parameters[block])

    def _over_blocks(self, work: Callable[[slice], Result]) -> list[Result]:
        return run_all([partial(work, block) for block in self._blocks])


@dataclass(frozen=True)
class ItemBlocks:
    """Rows of users, by user and in blocks of items.

    Attributes:
        rows: `(n, i)` float32, columns in increasing order.
    """

    rows: csr_array

    @property
    def num_padded(self) -> int:
        """Number of items, padded to whole blocks."""
        return round_up(int(self.rows.shape[1]), BLOCK)

    @cached_property
    def _blocks(self) -> list[csr_array]:
        """The blocks, each `(BLOCK, n)`, by item."""
        by_item = self.rows.T.tocsr()
        offsets = np.pad(by_item.indptr, (0, self.num_padded - by_item.shape[0]), mode="edge")
        padded = csr_array(
            (by_item.data, by_item.indices, offsets), shape=(self.num_padded, by_item.shape[1])
        )
        return [padded[start : start + BLOCK] for start in range(0, self.num_padded, BLOCK)]

    def __iter__(self) -> Iterator[slice]:
        """Iterate over the blocks as ranges of items."""
        return iter(slice(start, start + BLOCK) for start in range(0, self.num_padded, BLOCK))

    def combine(self, coefficients: Floats, block: slice) -> Floats:
        """Combine the rows over a block of items to `(BLOCK, m)`, by item; 0 for padding.

        `coefficients` are `(n, m)` in C order, a column for each combination.
        """
        combined: Floats = self._blocks[block.start // BLOCK] @ coefficients
        return combined

    def inner(self, columns: NDArray[np.int64], values: Floats) -> Floats:
        """Multiply all users' rows with vectors that have entries in a few columns: `(n, m)`.

        The vectors are `values` `(c, m)` over `columns` `(c,)`, ascending.
        """
        narrow = self.rows[:, columns]

        def multiply(first: int) -> Floats:
            products: Floats = narrow[first : first + _USERS] @ values
            return products

        starts = range(0, narrow.shape[0], _USERS)
        return np.concatenate(run_all([partial(multiply, first) for first in starts]))
