"""A solved ∞-AE on centres: scores of any context, and the contribution of each row to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.models.infinite_ae.explanations import Explanation, compare, weigh
from perennial.models.infinite_ae.gram import TileKernel, cross_kernel, normalised_gram
from perennial.models.infinite_ae.nystrom import Centres, NormalEquations, blocks_of
from perennial.models.infinite_ae.storage import describe_rows
from perennial.models.mesh import threads_for
from perennial.models.scoring import score_in_parts
from perennial.storage.base import Json, Progress
from perennial.storage.results.artifacts import csr_to_arrays


@dataclass(frozen=True)
class FittedNystromAE:
    """A solved ∞-AE on centres; see `perennial.models.infinite_ae.nystrom` for the names.

    Attributes:
        factor: `(m, m)` factor of A + λ'I, from `NormalEquations.factorise`.
        report: λ, the scores of the validation, and the numbers of rows.
        replayed: `(n,)` bool, rows that came from a memory; `None` if that was not stored.
    """

    system: "NystromSystem"
    factor: NDArray[np.float64]
    report: Mapping[str, Json]
    replayed: NDArray[np.bool_] | None = None

    @property
    def num_items(self) -> int:
        """d, on which Θ depends."""
        return self.system.rows.num_items

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Numbers `(m,)` of the rows that are the centres."""
        return self.system.chosen

    @property
    def centres(self) -> Centres:
        """C."""
        return self.system.equations.centres

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute f(x) = ((A + λ'I)⁻¹ φ(x))ᵀ B for each context row x, without a dense γ."""
        return score_in_parts(contexts, self.num_items, block_rows, self._score)

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Compute the normalised kernel of rows with themselves, see `Teacher.similarity`."""
        return normalised_gram(self.centres.split(rows), self.centres.kernel)

    def explain(self, context: csr_array, items: NDArray[np.integer[Any]]) -> Explanation:
        """Compute the contribution of each row to f(x), see `ExplainableModel`.

        f(x) = Σ_i c_i x_i over all n rows, not the centres alone: c_i = w_i K(x_i, C) v with
        v = L⁻ᵀ (A + λ'I)⁻¹ φ(x). It takes O(n m) operations, a pass over the rows.
        """
        if context.shape != (1, self.num_items):
            raise ValueError(f"a context of shape {context.shape}, rows of {self.num_items} items")
        centres, matrix = self.centres, self.system.rows.interactions
        (solved,) = self._solve(context)
        on_kernel = centres.weigh(solved)
        coefficients = np.empty(matrix.shape[0])
        similarity = np.empty(matrix.shape[0])
        for start, block in blocks_of(matrix, centres):
            part = slice(start, start + len(block))
            coefficients[part] = cross_kernel(block, centres.pieces, centres.kernel) @ on_kernel
            _, similarity[part] = compare(context, block, [block], centres.kernel)
        coefficients *= self.system.rows.weights
        added = weigh(coefficients, matrix, items)
        return Explanation(added, similarity, matrix, self.replayed)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return rows, weights, the centres' numbers and λ, from which `restore` sums A and B."""
        rows, settings = self.system.rows, self.system.settings
        arrays = {
            **csr_to_arrays(rows.interactions),
            "weights": rows.weights,
            "centres": self.chosen,
        }
        return arrays, describe_rows(self.num_items, settings, self.report, self.replayed)

    def _score(self, contexts: csr_array) -> NDArray[np.float32]:
        right = self.system.equations.right
        solved = self._solve(contexts).astype(right.dtype, copy=False)
        scores: NDArray[np.float32] = (solved @ right.T).astype(np.float32, copy=False)
        return scores

    def _solve(self, contexts: csr_array) -> NDArray[np.float64]:
        """Compute (A + λ'I)⁻¹ φ(x) of contexts, `(b, m)`."""
        features = self.centres.features(self.centres.split(contexts))
        if features.size == 0:
            return features
        with threads_for(len(self.factor)):
            solution, _ = lapack.dpotrs(self.factor, features.T, lower=1, overwrite_b=1)
        solved: NDArray[np.float64] = solution.T
        return solved


@dataclass(frozen=True)
class NystromSystem:
    """Rows after the one pass that their centres `(m,)` need, ready to be solved for any λ."""

    settings: Mapping[str, Json]
    rows: TrainingRows
    chosen: NDArray[np.int64]
    equations: NormalEquations

    @classmethod
    def of(
        cls,
        rows: TrainingRows,
        chosen: NDArray[np.int64],
        settings: Mapping[str, Json],
        kernel: TileKernel,
        jitter: float,
        dtype: np.dtype[Any],
        progress: Progress,
    ) -> "NystromSystem":
        """Make the pass over X `(n, d)` and W, with a kernel in float64 and B in `dtype`."""
        matrix = rows.interactions
        centres = Centres.of(matrix, chosen, kernel, jitter)
        equations = NormalEquations.of(centres, matrix, rows.weights, dtype, progress)
        return cls(settings, rows, chosen, equations)

    def solve(self, reg: float, report: Mapping[str, Json]) -> FittedNystromAE:
        """Factorise for one λ; the models share all but their factor."""
        return FittedNystromAE(
            system=self,
            factor=self.equations.factorise(reg),
            report={**report, "centres": len(self.chosen)},
            replayed=self.rows.replayed,
        )
