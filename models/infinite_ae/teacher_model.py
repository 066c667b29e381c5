"""∞-AE fitted to rows and, on replayed rows, to a teacher's scores: ADER in closed form.

With D the new rows, E the replayed ones, W the row weights and d_old the items of the teacher,
each column of f minimises Σ_D w (f(x) − x)² + Σ_E w (f(x) − f_old(x))² + λ'‖f‖², the norm being the
kernel's (design note 6). The columns share a factor of K + λ'W⁻¹ over D ∪ E; the columns of items
from d_old on are fitted on D alone, with the same λ', or the exemplars would pull every new item
to zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.models.infinite_ae.exact_model import SolvedRows
from perennial.models.infinite_ae.explanations import Explanation, weigh
from perennial.models.infinite_ae.gram import TileKernel, gram_below
from perennial.models.infinite_ae.row_blocks import RowBlock, popular_items, split_rows
from perennial.models.infinite_ae.storage import describe_rows
from perennial.models.scoring import score_in_parts
from perennial.models.solver import Factor, KernelSystem, make_system
from perennial.storage.base import Json


@dataclass(frozen=True)
class TaughtInfiniteAE(SolvedRows):
    """A solved ∞-AE with a teacher; its rows are D, then E.

    Attributes:
        new_rows: D alone.
        answers: `(rows of E, d_old)`, the teacher's scores.
        new_factor: of K + λ'W⁻¹ over D; `None` if the teacher has all items.
    """

    new_rows: RowBlock
    answers: NDArray[np.float32]
    new_factor: Factor | None

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute f(x) for each context row x."""
        return score_in_parts(contexts, self.num_items, block_rows, self._score)

    def explain(self, context: csr_array, items: NDArray[np.integer[Any]]) -> Explanation:
        """Compute the contribution of each row to f(x), see `ExplainableModel`."""
        theta, similarity = self.compare(context)
        num_new, known = len(self.new_rows), self.answers.shape[1]
        of_new_rows = theta[:, :num_new].copy()
        (coefficients,) = self.factor.solve(theta)
        added = np.zeros((len(items), len(self.rows)))
        old = items < known
        new_rows = self.new_rows.rows
        added[old, :num_new] = weigh(coefficients[:num_new], new_rows, items[old])
        added[old, num_new:] = weigh(coefficients[num_new:], self.answers, items[old])
        if self.new_factor is not None:
            (fresh,) = self.new_factor.solve(of_new_rows)
            added[~old, :num_new] = weigh(fresh, new_rows, items[~old])
        replayed = np.arange(len(self.rows)) >= num_new
        return Explanation(added, similarity, self.rows.rows, replayed)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the rows, their weights, the teacher's scores and λ; `restore` solves again."""
        manifest = describe_rows(self.num_items, self.settings, self.report)
        return {**self.row_arrays(), "answers": self.answers}, manifest

    def _score(self, contexts: csr_array) -> NDArray[np.float32]:
        similarity = self.cross(contexts)
        num_new, known = len(self.new_rows), self.answers.shape[1]
        of_new_rows = similarity[:, :num_new].copy() if self.new_factor is not None else None
        coefficients = self.factor.solve(similarity).astype(np.float32, copy=False)
        scores = self.new_rows.combine(coefficients[:, :num_new])
        scores[:, :known] += coefficients[:, num_new:] @ self.answers
        if self.new_factor is not None and of_new_rows is not None:
            fresh = self.new_rows.combine(self.new_factor.solve(of_new_rows))
            scores[:, known:] = fresh[:, known:]
        return scores


@dataclass(frozen=True)
class TaughtSystem:
    """Rows with a teacher, to be solved for any λ; one solution is valid at a time on a CPU.

    Attributes:
        rows: D, then E.
        new_rows: D alone.
        weights: `(n,)` in that order.
        answers: `(rows of E, d_old)`, the teacher's scores.
        system: K over D ∪ E.
        new_system: K over D; `None` if the teacher has all items.
    """

    settings: Mapping[str, Json]
    kernel: TileKernel
    rows: RowBlock
    new_rows: RowBlock
    weights: NDArray[np.float64]
    answers: NDArray[np.float32]
    system: KernelSystem
    new_system: KernelSystem | None

    @classmethod
    def of(
        cls,
        rows: TrainingRows,
        answers: NDArray[np.float32],
        settings: Mapping[str, Json],
        kernel: TileKernel,
    ) -> "TaughtSystem":
        """Compute the kernel matrices.

        `rows` are D and E in any order, and `answers` the `(rows of E, d_old)` scores of the
        teacher, in the order of the replayed rows.
        """
        order = np.argsort(rows.replayed, kind="stable")
        num_new = int(np.count_nonzero(~rows.replayed))
        interactions, weights = rows.interactions[order], rows.weights[order]
        head = popular_items(interactions)
        split, new_rows = split_rows(interactions, head), split_rows(interactions[:num_new], head)
        gram = gram_below(split, kernel)
        diagonal = kernel.diagonal(split)
        new_system = None
        if answers.shape[1] < rows.num_items:
            part = gram[:num_new, :num_new].copy()
            new_system = make_system(part, diagonal[:num_new], weights[:num_new])
        system = make_system(gram, diagonal, weights)
        return cls(settings, kernel, split, new_rows, weights, answers, system, new_system)

    def solve(self, reg: float, report: Mapping[str, Json]) -> TaughtInfiniteAE:
        """Factorise for one λ."""
        new_factor = None
        if self.new_system is not None:
            # One λ' for all columns, whatever the rows that fit them.
            own = self.new_system.ridge(reg)
            scale = self.system.ridge(reg) / own if own else 1.0
            new_factor = self.new_system.factorise(reg * scale)
        return TaughtInfiniteAE(
            settings=self.settings,
            kernel=self.kernel,
            rows=self.rows,
            new_rows=self.new_rows,
            weights=self.weights,
            answers=self.answers,
            factor=self.system.factorise(reg),
            new_factor=new_factor,
            report=report,
        )
