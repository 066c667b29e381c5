"""A solved ∞-AE: scores of any context, and of the training rows while λ is chosen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import TrainingRows
from perennial.models.infinite_ae.explanations import Explanation, compare, weigh
from perennial.models.infinite_ae.gram import (
    TILE,
    TileKernel,
    cross_kernel,
    gram_below,
    normalised_gram,
)
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.mesh_rows import MeshRows
from perennial.models.infinite_ae.row_blocks import RowBlock, popular_items, split_rows
from perennial.models.infinite_ae.storage import describe_rows
from perennial.models.mesh import device_mesh
from perennial.models.scoring import score_in_parts, score_rows
from perennial.models.solver import DeviceFactor, DeviceSystem, Factor, KernelSystem, make_system
from perennial.storage.base import Json
from perennial.storage.results.artifacts import csr_to_arrays


@dataclass(frozen=True)
class SolvedRows:
    """Training rows and the factor of their kernel system.

    Attributes:
        rows: X.
        weights: `(n,)` W, in the order of `rows`.
        factor: of K + λ'W⁻¹.
        report: λ, the validation, and the numbers of rows.
    """

    settings: Mapping[str, Json]
    kernel: TileKernel
    rows: RowBlock
    weights: NDArray[np.float64]
    factor: Factor
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """d, on which Θ depends."""
        return int(self.rows.rows.shape[1])

    @cached_property
    def pieces(self) -> list[RowBlock]:
        """X in tiles."""
        return list(self.rows.pieces(TILE))

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Compute the normalised kernel of rows with themselves, see `Teacher.similarity`."""
        return normalised_gram(split_rows(rows, self.rows.head_items), self.kernel)

    def cross(self, contexts: csr_array) -> NDArray[Any]:
        """Compute Θ of contexts `(b, num_items)` with the rows, `(b, n)`."""
        block = split_rows(contexts, self.rows.head_items)
        return cross_kernel(block, self.pieces, self.kernel)

    def compare(self, context: csr_array) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Compute `(1, n)` Θ of one context `(1, num_items)` with the rows, and `(n,)` cosines."""
        return compare(context, self.rows, self.pieces, self.kernel)

    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the rows and their weights, from which `restore` makes the factor again."""
        return {**csr_to_arrays(self.rows.rows), "weights": self.weights}


@dataclass(frozen=True)
class FittedInfiniteAE(SolvedRows):
    """A solved ∞-AE.

    Attributes:
        replayed: `(n,)` bool, rows that came from a memory; `None` where that was not kept.
        placed: X on accelerators, if there are any; the factor is then on them too.
    """

    replayed: NDArray[np.bool_] | None = None
    placed: MeshRows | None = None

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute f(x) for each context row x, in the cheaper order.

        (K(x, X)(K + λ'W⁻¹)⁻¹) X costs 2n² operations a context and needs no dense α; α itself costs
        2n²d once and 2nd a context, and is taken only where it pays and is no larger than K.
        """
        if self.placed is not None:
            score = partial(self._score_on_devices, self.placed)
        else:
            score = partial(self._score_here, self._solution(contexts.shape[0]))
        yield from score_in_parts(contexts, self.num_items, block_rows, score)

    def _solution(self, num_contexts: int) -> NDArray[np.float32] | None:
        """Return α `(n, d)` if it pays for this number of contexts."""
        n, m, d = len(self.rows), num_contexts, self.num_items
        if d > n or n * d + m * d >= n * m:
            return None
        dense = self.rows.rows.T.toarray().astype(self.kernel.dtype, copy=False)
        solution: NDArray[np.float32] = self.factor.solve(dense).T.astype(np.float32, copy=False)
        return solution

    def _score_here(
        self, solution: NDArray[np.float32] | None, contexts: csr_array
    ) -> NDArray[np.float32]:
        similarity = self.cross(contexts)
        if solution is None:
            return self.rows.combine(self.factor.solve(similarity))
        scores: NDArray[np.float32] = similarity.astype(np.float32, copy=False) @ solution
        return scores

    def _score_on_devices(self, placed: MeshRows, contexts: csr_array) -> NDArray[np.float32]:
        assert isinstance(self.factor, DeviceFactor)  # noqa: S101
        coefficients = self.factor.solve_shared_out(placed.cross(contexts))
        return placed.combine(coefficients)[: contexts.shape[0]]

    def explain(self, context: csr_array, items: NDArray[np.integer[Any]]) -> Explanation:
        """Compute the contribution of each row to f(x), see `ExplainableModel`."""
        theta, similarity = self.compare(context)
        (coefficients,) = self.factor.solve(theta)
        added = weigh(coefficients, self.rows.rows, items)
        return Explanation(added, similarity, self.rows.rows, self.replayed)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the rows, their weights and λ, from which `restore` makes the factor again."""
        manifest = describe_rows(self.num_items, self.settings, self.report, self.replayed)
        return self.row_arrays(), manifest


@dataclass(frozen=True)
class ExactSystem:
    """Rows with their kernel matrix, to be solved for any λ; one solution is valid at a time.

    Attributes:
        rows: X, with its weights.
        product_rows: X as products use it: split into head and tail, or on devices.
        system: K.
    """

    settings: Mapping[str, Json]
    kernel: TileKernel
    rows: TrainingRows
    product_rows: RowBlock | MeshRows
    system: KernelSystem

    @classmethod
    def of(
        cls,
        rows: TrainingRows,
        settings: Mapping[str, Json],
        kernel: TileKernel,
        on_devices: KernelSettings | None,
    ) -> "ExactSystem":
        """Compute the kernel matrix.

        The rows have no teacher. `on_devices` is the same kernel for the devices that `device_mesh`
        names, if any; `None` computes on the host all the same.
        """
        mesh = device_mesh()
        if mesh is not None and on_devices is not None:
            placed = MeshRows.place(rows.interactions, mesh, on_devices, kernel.dtype)
            shared_out = DeviceSystem(placed.gram(), placed.diagonal(), rows.weights)
            return cls(settings, kernel, rows, placed, shared_out)
        split = _split(rows.interactions)
        system = make_system(gram_below(split, kernel), kernel.diagonal(split), rows.weights)
        return cls(settings, kernel, rows, split, system)

    def solve(self, reg: float, report: Mapping[str, Json]) -> FittedInfiniteAE:
        """Factorise for one λ; raise `UserError` if the matrix is singular."""
        placed = self.product_rows if isinstance(self.product_rows, MeshRows) else None
        # Explanations, of one context at a time, are computed on the host.
        split = (
            self.product_rows
            if isinstance(self.product_rows, RowBlock)
            else _split(self.rows.interactions)
        )
        return FittedInfiniteAE(
            settings=self.settings,
            kernel=self.kernel,
            rows=split,
            weights=self.rows.weights,
            factor=self.system.factorise(reg),
            report=report,
            replayed=self.rows.replayed,
            placed=placed,
        )

    def training_scores(self, reg: float, first: int) -> Iterator[NDArray[np.float32]]:
        """Score training rows from `first` on as contexts, `score_rows(num_items)` at a time.

        It takes no product with K: K(K + λ'W⁻¹)⁻¹ X = X − λ'W⁻¹ (K + λ'W⁻¹)⁻¹ X.
        """
        ridge = self.system.ridge(reg)
        start = first
        for inverse in self.system.inverse_rows(reg, first, score_rows(self.rows.num_items)):
            stop = start + len(inverse)
            scores = self.product_rows.combine(inverse)
            scores *= (-ridge / self.rows.weights[start:stop, None]).astype(np.float32)
            own = self.rows.interactions[start:stop].tocoo()
            scores[own.row, own.col] += own.data
            start = stop
            yield scores


def _split(interactions: csr_array) -> RowBlock:
    return split_rows(interactions, popular_items(interactions))
