"""The graph of rows and items, and LightGCN's propagation over it.

He et al., "LightGCN", SIGIR 2020, equations 3, 4 and 8: an edge carries value / √(d_row · d_item),
each layer is the neighbours' sum of the layer before, and a representation is the mean of the
layers 0..K. There is nothing to learn on the way, so propagation is one symmetric linear map P, and
the gradient of a loss on the representations goes back to layer 0 through P itself.
"""

from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Float64, Int32, Num
from scipy.sparse import csr_array

from perennial.models.training.batches import pad_entries, pad_items, pad_rows
from perennial.storage.parallel import run_all


class Propagated(NamedTuple):
    """Result of a propagation, float32.

    Attributes:
        rows: `(num_rows, dim)`, the mean of the layers 0..K.
        items: `(num_items, dim)`, likewise.
        below: `(num_items, dim)`, the sum of the items' layers 0..K−1 divided by K + 1. Neighbours
            sum it, and with layer 0 of a row that makes the row's mean.
    """

    rows: Float32[np.ndarray, "num_rows dim"]
    items: Float32[np.ndarray, "num_items dim"]
    below: Float32[np.ndarray, "num_items dim"]


@runtime_checkable
class Graph(Protocol):
    """Rows and items, with an edge where a row has an item."""

    @property
    def item_scales(self) -> Float32[np.ndarray, " num_items"]:
        """`(num_items,)` 1/√d of each item; 0 where it has no edge."""

    def propagate(
        self,
        rows: Float32[np.ndarray, "num_rows dim"],
        items: Float32[np.ndarray, "num_items dim"],
        layers: int,
    ) -> Propagated:
        """Propagate rows `(num_rows, dim)` and items `(num_items, dim)` from layer 0 to K ≥ 1."""


def make_graph(interactions: csr_array) -> Graph:
    """Make the graph of `(num_rows, num_items)` float32 edge weights ≥ 0 for JAX's processor."""
    on_cpu = jax.default_backend() == "cpu"
    return ScipyGraph(interactions) if on_cpu else DeviceGraph(interactions)


class ScipyGraph:
    """Propagation by SciPy's products, which are ten times faster than XLA's scatters on a CPU."""

    def __init__(self, interactions: csr_array) -> None:
        """Normalise the edges; see `make_graph`."""
        self._edges, self.item_scales = _normalise(interactions)
        self._edges_by_item = self._edges.T.tocsr()

    def propagate(
        self,
        rows: Float32[np.ndarray, "num_rows dim"],
        items: Float32[np.ndarray, "num_items dim"],
        layers: int,
    ) -> Propagated:
        """See `Graph.propagate`."""
        row_sum = below = rows
        item_sum = items
        # Σ A^l x by Horner's rule; the two sides of a layer do not depend on each other.
        for _ in range(layers):
            row_part, below = row_sum, item_sum
            from_items, from_rows = run_all(
                [
                    partial(self._edges.__matmul__, below),
                    partial(self._edges_by_item.__matmul__, row_part),
                ]
            )
            row_sum, item_sum = rows + from_items, items + from_rows
        share = np.float32(1.0 / (layers + 1))
        return Propagated(share * row_sum, share * item_sum, share * below)


class DeviceGraph:
    """Propagation by XLA's gathers and sums by segment, for an accelerator."""

    def __init__(self, interactions: csr_array) -> None:
        """Normalise the edges; see `make_graph`."""
        edges, self.item_scales = _normalise(interactions)
        rows = np.repeat(np.arange(edges.shape[0], dtype=np.int32), np.diff(edges.indptr))
        # Edges of value 0 pad them, so that another period's graph finds its code compiled.
        padding = (0, pad_entries(edges.nnz) - edges.nnz)
        self._edges = (
            jnp.asarray(np.pad(rows, padding)),
            jnp.asarray(np.pad(edges.indices.astype(np.int32), padding)),
            jnp.asarray(np.pad(edges.data, padding)),
        )

    def propagate(
        self,
        rows: Float32[np.ndarray, "num_rows dim"],
        items: Float32[np.ndarray, "num_items dim"],
        layers: int,
    ) -> Propagated:
        """See `Graph.propagate`."""
        (num_rows, _), (num_items, _) = rows.shape, items.shape
        row_mean, item_mean, below = _propagate_on_device(
            *self._edges,
            jnp.asarray(pad_first(rows, pad_rows(num_rows))),
            jnp.asarray(pad_first(items, pad_items(num_items))),
            layers=layers,
        )
        return Propagated(
            np.asarray(row_mean)[:num_rows],
            np.asarray(item_mean)[:num_items],
            np.asarray(below)[:num_items],
        )


def pad_first(
    values: Float32[np.ndarray, "n dim"], length: int
) -> Float32[np.ndarray, "{length} dim"]:
    """Append zero rows to `(n, dim)` values up to a length."""
    return np.pad(values, ((0, length - len(values)), (0, 0)))


@partial(jax.jit, static_argnames=("layers",))
def _propagate_on_device(
    edge_rows: Int32[Array, " edges"],
    edge_items: Int32[Array, " edges"],
    values: Float32[Array, " edges"],
    rows: Float32[Array, "R dim"],
    items: Float32[Array, "I dim"],
    *,
    layers: int,
) -> tuple[Float32[Array, "R dim"], Float32[Array, "I dim"], Float32[Array, "I dim"]]:
    """`ScipyGraph.propagate` on padded arrays."""
    row_sum, item_sum, below = rows, items, items
    for _ in range(layers):
        below = item_sum
        to_rows = jax.ops.segment_sum(values[:, None] * below[edge_items], edge_rows, len(rows))
        to_items = jax.ops.segment_sum(values[:, None] * row_sum[edge_rows], edge_items, len(items))
        row_sum, item_sum = rows + to_rows, items + to_items
    share = jnp.float32(1.0 / (layers + 1))
    return share * row_sum, share * item_sum, share * below


def _normalise(interactions: csr_array) -> tuple[csr_array, Float32[np.ndarray, " num_items"]]:
    """Compute value / √(d_row · d_item) of each edge, and 1/√d_item; degrees sum the values."""
    num_rows, num_items = interactions.shape
    values, items = interactions.data.astype(np.float64), interactions.indices
    rows = np.repeat(np.arange(num_rows), np.diff(interactions.indptr))
    row_scales = _inverse_roots(np.bincount(rows, weights=values, minlength=num_rows))
    item_scales = _inverse_roots(np.bincount(items, weights=values, minlength=num_items))
    scaled = (values * row_scales[rows] * item_scales[items]).astype(np.float32)
    edges = csr_array((scaled, items, interactions.indptr), interactions.shape)
    return edges, item_scales.astype(np.float32)


def _inverse_roots(degrees: Num[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """1/√d, and 0 for 0."""
    roots = np.sqrt(degrees.astype(np.float64))
    return np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
