"""A distillation over a large catalogue, in item blocks and in the memory of the host.

Parameters, moment and gradient are the only arrays as wide as the catalogue: 12 bytes for each item
of each synthetic user, 6 GB for 500 of them and a million items. All else is sparse, small, or made
one block of items after the other: the cosine loss needs inner products only. Each step thus
draws from all users, as none of them has to be resident.
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

from perennial.memory.distill.checkpoint import load_arrays_and_best, save_arrays_and_best
from perennial.memory.distill.objective import SupportProducts, TargetBatch, loss_and_slopes
from perennial.memory.distill.parametrisation import MOMENTUM, update_norm
from perennial.memory.distill.problem import DistillationProblem
from perennial.memory.distill.targets import Guide
from perennial.memory.distill.top_k import GROUP, group_maxima, largest_of_columns
from perennial.memory.distill.validation import BestSupport
from perennial.models.mesh import round_up
from perennial.storage.parallel import run_all
from perennial.stream.seeds import derive_seed

BLOCK = 4096
"""Items at a time, a multiple of `GROUP`; 500 parameters of each take 8 MiB."""

_USERS = 8192
"""Users of one product."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ItemBlocks:
    """Rows of users, by user and by item.

    Attributes:
        rows: `(n, i)` float32, columns in increasing order.
    """

    rows: csr_array

    @property
    def num_padded(self) -> int:
        """Items, padded to whole blocks."""
        return round_up(int(self.rows.shape[1]), BLOCK)

    @cached_property
    def _blocks(self) -> list[csr_array]:
        """Each `(BLOCK, n)`, by item."""
        by_item = self.rows.T.tocsr()
        offsets = np.pad(by_item.indptr, (0, self.num_padded - by_item.shape[0]), mode="edge")
        padded = csr_array(
            (by_item.data, by_item.indices, offsets), shape=(self.num_padded, by_item.shape[1])
        )
        return [padded[start : start + BLOCK] for start in range(0, self.num_padded, BLOCK)]

    def __iter__(self) -> Iterator[slice]:
        """The blocks as ranges of items."""
        return iter(slice(start, start + BLOCK) for start in range(0, self.num_padded, BLOCK))

    def combine(self, coefficients: Floats, block: slice) -> Floats:
        """Combinations of the rows over a block of the items.

        Args:
            coefficients: `(n, m)` in C order, a column for each combination.
            block: of the items.

        Returns:
            `(BLOCK, m)`, by item; 0 for padding.
        """
        combined: Floats = self._blocks[block.start // BLOCK] @ coefficients
        return combined

    def inner(self, columns: NDArray[np.int64], values: Floats) -> Floats:
        """Inner products of all users' rows with others that have entries in a few columns.

        Args:
            columns: `(c,)` ascending.
            values: `(c, m)`, the others over these columns.

        Returns:
            `(n, m)`.
        """
        narrow = self.rows[:, columns]

        def multiply(first: int) -> Floats:
            products: Floats = narrow[first : first + _USERS] @ values
            return products

        starts = range(0, narrow.shape[0], _USERS)
        return np.concatenate(run_all([partial(multiply, first) for first in starts]))


_LANDMARKS = 128
"""Columns of Q whose combination over all items exists at a time in a thread."""

_USER_BLOCK = 4096


class FactoredTargets:
    """T = F Qᵀ X + c X, never made whole.

    Args:
        guide: of the users.
        blocks: their rows X.
    """

    def __init__(self, guide: Guide, blocks: ItemBlocks) -> None:
        self._guide = guide
        self._blocks = blocks
        self._scaled = guide.scaled

    def squares(self) -> NDArray[np.float64]:
        """|t|² of all users, `(n,)`.

        With D = X Xᵀ Q it is F Qᵀ D Fᵀ + 2 c F Dᵀ + c² |x|², user by user.
        """
        scaled, rows = self._scaled, self._blocks.rows
        starts = range(0, scaled.shape[1], _LANDMARKS)
        by_item = rows.T.tocsr()

        def spread(start: int) -> Floats:
            piece = np.ascontiguousarray(scaled[:, start : start + _LANDMARKS])
            found: Floats = rows @ (by_item @ piece)
            return found

        parts = run_all([partial(spread, start) for start in starts])
        spreads = np.concatenate(parts, axis=1) if parts else scaled
        middle = (scaled.T @ spreads).astype(np.float64)
        own_squares = np.asarray((rows**2).sum(axis=1), dtype=np.float64).ravel()
        found = np.empty(rows.shape[0])
        for start in range(0, rows.shape[0], _USER_BLOCK):
            users = np.arange(start, min(start + _USER_BLOCK, rows.shape[0]))
            factors, own = self._guide.factors(users)
            factors, own = factors.astype(np.float64), own.astype(np.float64)
            crossed = (factors * spreads[users]).sum(axis=1)
            squared = ((factors @ middle) * factors).sum(axis=1)
            found[users] = squared + 2 * own * crossed + own**2 * own_squares[users]
        return np.maximum(found, 0)

    def inner(self, users: NDArray[np.int64], similar: Floats) -> Floats:
        """Inner products of some users' targets with others.

        Args:
            users: `(u,)` row numbers.
            similar: `(n, m)` inner products of all rows with the others.

        Returns:
            `(u, m)`.
        """
        factors, own = self._guide.factors(users)
        products: Floats = factors @ (self._scaled.T @ similar) + own[:, None] * similar[users]
        return products

    def coefficients(self, users: NDArray[np.int64], slopes: Floats) -> Floats:
        """Coefficients of all rows in combinations of some users' targets.

        Args:
            users: `(u,)` row numbers, none twice.
            slopes: `(u, m)`, a column for each combination.

        Returns:
            `(n, m)`, to be combined by `ItemBlocks`.
        """
        factors, own = self._guide.factors(users)
        found: Floats = self._scaled @ (factors.T @ slopes)
        found[users] += own[:, None] * slopes
        return found


Result = TypeVar("Result")

_SMALLEST_NORM = 1e-6
"""Added to a gradient's norm, as optax does."""


class BlockedOptimisation:
    """The steps of `SparseWeights` under the cosine loss; a `dense.Optimisation`.

    Args:
        task: what to distil.
    """

    def __init__(self, task: DistillationProblem) -> None:
        self._task = task
        self._blocks = ItemBlocks(task.narrow)
        self._targets = FactoredTargets(task.guide, self._blocks)
        self._squares = np.asarray((task.narrow**2).sum(axis=1), dtype=np.float64).ravel()
        self._target_squares = self._targets.squares()
        shape = (self._blocks.num_padded, task.num_synthetic_users)
        self._parameters = np.empty(shape, dtype=np.float32)
        self._maxima = np.empty((shape[0] // GROUP, shape[1]), dtype=np.float32)
        self._moment = np.zeros(shape, dtype=np.float32)
        self._gradient: Floats | None = None
        self._made = 0
        self._loss = float("nan")
        self._start()

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """As `Work` has it."""
        found = load_arrays_and_best(path, self._task.fingerprint())
        if found is None:
            return None
        arrays, best, step, worse = found
        self._parameters, self._moment = arrays["parameters"], arrays["moment"]
        self._maxima = group_maxima(self._parameters)
        self._made = step
        return best, step, worse

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """As `Work` has it; the gradient makes room for the copies that writing takes."""
        self._gradient = None
        arrays = {"parameters": self._parameters, "moment": self._moment}
        save_arrays_and_best(path, self._task.fingerprint(), arrays, best, step, worse)

    def meet(self, step: int) -> None:
        """Nothing: every step draws from all users."""

    def advance(self) -> None:
        """Draw users, take the gradient block by block, and move."""
        generator = np.random.default_rng(derive_seed(self._task.seed, "batch", self._made))
        size = min(self._task.batch, self._task.num_users)
        drawn = np.sort(generator.permutation(self._task.num_users)[:size])
        norm = self._take_gradient(drawn)
        self._made += 1
        self._move(norm)

    def judge(self, step: int) -> BestSupport:
        """As `Work` has it."""
        support = self.support()
        if self._task.settings.export == "hard":
            support.data[:] = 1
        validation, reg = self._task.judge.judge(support)
        return BestSupport(support, step, validation, reg, self._loss)

    def support(self) -> csr_array:
        """The weights that count, `(μ, items that occur)`."""
        most = self._task.settings.max_items
        assert most is not None  # noqa: S101 - else it takes no blocks
        items, owners, values = largest_of_columns(self._parameters, self._maxima, most)
        shape = (self._task.num_synthetic_users, len(self._task.items))
        support = csr_array((values, (owners, items)), shape=shape)
        support.sort_indices()
        return support

    def _start(self) -> None:
        """From real users: their targets, enlarged; one that is replayed goes on as it is."""
        task = self._task
        drawn = task.first_users()
        replayed = np.flatnonzero(task.held.training.replayed[drawn])
        slopes = task.settings.start_scale * np.eye(len(drawn), dtype=np.float32)
        slopes[replayed] = 0
        coefficients = self._targets.coefficients(drawn, slopes)
        coefficients[drawn[replayed], replayed] = 1

        def fill(block: slice) -> None:
            self._parameters[block] = np.clip(self._blocks.combine(coefficients, block), 0, 1)
            self._note_maxima(block)

        self._over_blocks(fill)

    def _take_gradient(self, drawn: NDArray[np.int64]) -> float:
        """Write the gradient of the outer loss on some users; its norm."""
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
        """Slopes of the loss in the inner products, in the order of `SupportProducts`."""
        double = support.astype(np.float64)
        training = self._task.held.training
        with jax.enable_x64(True):
            products = SupportProducts(
                cross=jnp.asarray(similar[drawn], jnp.float64),
                inner=jnp.asarray((double @ double.T).toarray()),
                wanted=jnp.asarray(self._targets.inner(drawn, similar), jnp.float64),
            )
            asked = TargetBatch(
                context_squares=jnp.asarray(self._squares[drawn]),
                target_squares=jnp.asarray(self._target_squares[drawn]),
                weights=jnp.asarray(training.weights[drawn]),
                num_items=jnp.asarray(float(training.num_items)),
            )
            reg = jnp.asarray(self._task.settings.inner_reg)
            loss, slopes = loss_and_slopes(products, asked, reg)
            self._loss = float(loss) + float(support.sum()) * self._penalty(support)
            cross, inner, wanted = (np.asarray(slope, dtype=np.float32) for slope in slopes)
            return cross, inner, wanted

    def _penalty(self, support: csr_array) -> float:
        """Slope of the L1 penalty in each entry."""
        settings = self._task.settings
        return settings.sparsity_weight / (int(support.shape[0]) * self._task.row_sum)

    def _move(self, norm: float) -> None:
        """A step of `SparseWeights`' optimiser, in place; the gradient is used up."""
        settings, gradient = self._task.settings, self._gradient
        assert gradient is not None  # noqa: S101
        shape = self._parameters.shape[::-1]
        pace = (1 - MOMENTUM) * update_norm(settings, shape) / (norm + _SMALLEST_NORM)
        # The average began at zero: what it lacks is made up for.
        rate = -settings.learning_rate / (1 - MOMENTUM**self._made)

        def move(block: slice) -> None:
            change, moment = gradient[block], self._moment[block]
            moment *= np.float32(MOMENTUM)
            change *= np.float32(pace)
            moment += change
            np.multiply(moment, np.float32(rate), out=change)
            parameters = self._parameters[block]
            parameters += change
            np.clip(parameters, 0, 1, out=parameters)
            self._note_maxima(block)

        self._over_blocks(move)

    def _note_maxima(self, block: slice) -> None:
        groups = slice(block.start // GROUP, block.stop // GROUP)
        self._maxima[groups] = group_maxima(self._parameters[block])

    def _over_blocks(self, work: Callable[[slice], Result]) -> list[Result]:
        return run_all([partial(work, block) for block in self._blocks])
