"""A fitted LightGCN: its scores and its stored arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.lightgcn.graph import Graph, Propagated
from perennial.models.lightgcn.loss import directions
from perennial.models.scoring import context_blocks
from perennial.storage.base import Json


@dataclass(frozen=True)
class FittedLightGCN:
    """Items' side of the graph, which any row can be joined to.

    A context is joined as a training row was: its layer l is Σ value · item's layer l−1 / √(d_row ·
    d_item), with the items' layers as they are, and its layer 0 is zero. So a training row gets the
    representation that it had in training.

    Attributes:
        sources: `(num_items, dim)` float32, an item's share in a row that has it: its layers
            below the last, over √d_item.
        targets: `(num_items, dim)` float32, the items' representations; of length 1 if `cosine`.
        cosine: True if rows are scaled to length 1 before they are compared.
        report: the choices of the fit, and its numbers of rows.
    """

    sources: NDArray[np.float32]
    targets: NDArray[np.float32]
    cosine: bool
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.targets)

    def represent(self, contexts: csr_array) -> NDArray[np.float32]:
        """`(n, dim)` float32, the contexts' representations; zero for an empty one."""
        sums = contexts @ self.sources
        degrees = np.asarray(contexts.sum(axis=1), dtype=np.float32).reshape(-1, 1)
        rows = np.divide(sums, np.sqrt(degrees), out=np.zeros_like(sums), where=degrees > 0)
        return directions(rows) if self.cosine else rows

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute the cosine, or inner product, of contexts with all items; 0 for an empty one."""
        for block in context_blocks(contexts, self.num_items, block_rows):
            yield self.represent(block.astype(np.float32, copy=False)) @ self.targets.T

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the two arrays, and a manifest with the report."""
        arrays = {"sources": self.sources, "targets": self.targets}
        return arrays, {"cosine": self.cosine, "report": dict(self.report)}


def make_model(
    graph: Graph, propagated: Propagated, cosine: bool, report: Mapping[str, Json]
) -> FittedLightGCN:
    """Make the model of a propagation."""
    return FittedLightGCN(
        sources=graph.item_scales[:, None] * propagated.below,
        targets=directions(propagated.items) if cosine else propagated.items,
        cosine=cosine,
        report=report,
    )
