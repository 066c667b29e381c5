"""Kernel matrices of sparse rows, computed tile by tile; of a symmetric one only a half."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray

from perennial.models.infinite_ae.kernel import KernelSettings, kernel_diagonal, kernel_values
from perennial.models.infinite_ae.row_blocks import RowBlock
from perennial.models.infinite_ae.stax_kernel import stax_values
from perennial.models.mesh import one_thread
from perennial.storage.parallel import run_all

Backend = Literal["closed-form", "neural-tangents"]
"""Implementation of Θ."""

TILE = 1024
"""Rows and columns of a tile. One shape, so that the kernel is compiled once for all sizes."""

SHORT = 16
"""Rows of a second compiled shape: a single context would else take as long as a whole tile."""


@runtime_checkable
class TileKernel(Protocol):
    """Θ between blocks of at most `TILE` rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""

    def tile(self, left: RowBlock, right: RowBlock) -> Float[np.ndarray, "l r"]:
        """Compute Θ of each pair, `(l, r)`; both blocks have the same head."""

    def diagonal(self, block: RowBlock) -> Float[np.ndarray, " n"]:
        """Compute the exact Θ of each row with itself, `(n,)`."""


@dataclass(frozen=True)
class ClosedFormKernel:
    """Closed form on sparse inner products, in float32 or float64."""

    settings: KernelSettings
    num_items: int
    dtype: np.dtype[Any]

    def tile(self, left: RowBlock, right: RowBlock) -> Float[np.ndarray, "l r"]:
        """Compute `(l, r)` from inner products; edge tiles are padded to a compiled shape."""
        rows, columns = len(left), len(right)
        # Elementwise, so both shapes give the same values to the bit.
        height = SHORT if rows <= SHORT else TILE
        inner = left.inner(right).astype(self.dtype, copy=False)
        left_squares, right_squares = left.squares, right.squares
        if (rows, columns) != (height, TILE):
            inner = np.pad(inner, ((0, height - rows), (0, TILE - columns)))
            left_squares = np.pad(left_squares, (0, height - rows))
            right_squares = np.pad(right_squares, (0, TILE - columns))
        with jax.enable_x64(self.dtype == np.float64):
            theta = kernel_values(
                inner,
                left_squares.astype(self.dtype),
                right_squares.astype(self.dtype),
                self.dtype.type(max(1, self.num_items)),
                self.settings,
            )
            values: NDArray[Any] = np.asarray(theta)[:rows, :columns]
            return values

    def diagonal(self, block: RowBlock) -> Float[np.ndarray, " n"]:
        """Compute `(n,)` from the rows' squared lengths, see `kernel_diagonal`."""
        squares = np.zeros(-(-len(block) // TILE) * TILE, dtype=self.dtype)
        squares[: len(block)] = block.squares
        with jax.enable_x64(self.dtype == np.float64):
            num_items = self.dtype.type(max(1, self.num_items))
            theta: NDArray[Any] = np.asarray(kernel_diagonal(squares, num_items, self.settings))
            return theta[: len(block)]


@dataclass(frozen=True)
class StaxTileKernel:
    """neural-tangents on rows made dense tile by tile."""

    settings: KernelSettings
    dtype: np.dtype[Any]

    def tile(self, left: RowBlock, right: RowBlock) -> Float[np.ndarray, "l r"]:
        """Compute `(l, r)` with `neural_tangents.stax`."""
        return stax_values(self._dense(left), self._dense(right), self.settings)

    def diagonal(self, block: RowBlock) -> Float[np.ndarray, " n"]:
        """Compute `(n,)` from tiles of rows with themselves, for which stax is exact."""
        theta = np.zeros(len(block), dtype=self.dtype)
        for number, piece in enumerate(block.pieces(TILE)):
            values = stax_values(self._dense(piece), None, self.settings)
            theta[number * TILE : number * TILE + len(piece)] = np.diagonal(values)
        return theta

    def _dense(self, block: RowBlock) -> Float[np.ndarray, "n items"]:
        dense: NDArray[Any] = block.rows.toarray().astype(self.dtype, copy=False)
        return dense


def make_tile_kernel(
    backend: Backend, settings: KernelSettings, num_items: int, dtype: np.dtype[Any]
) -> TileKernel:
    """Make the kernel of a recipe's `backend`."""
    if backend == "neural-tangents":
        return StaxTileKernel(settings, dtype)
    return ClosedFormKernel(settings, num_items, dtype)


def fill_gram(rows: RowBlock, kernel: TileKernel, out: Float[np.ndarray, "n n"]) -> None:
    """Write Θ of rows with themselves below the diagonal of `out`, `(n, n)` in C order.

    On and above the diagonal it is undefined afterwards: half of the products suffice.
    """
    blocks = list(rows.pieces(TILE))

    def fill(left: int, right: int) -> None:
        target = out[left * TILE : (left + 1) * TILE, right * TILE : (right + 1) * TILE]
        target[:] = kernel.tile(blocks[left], blocks[right])

    with one_thread():
        run_all(
            [partial(fill, left, right) for left in range(len(blocks)) for right in range(left + 1)]
        )


def gram_below(rows: RowBlock, kernel: TileKernel) -> Float[np.ndarray, "n n"]:
    """Compute Θ of rows with themselves below the diagonal of an `(n, n)` matrix."""
    below = np.zeros((len(rows), len(rows)), dtype=kernel.dtype)
    fill_gram(rows, kernel, below)
    return below


def normalised_gram(rows: RowBlock, kernel: TileKernel) -> Float64[np.ndarray, "n n"]:
    """Compute Θ(x, x') / √(Θ(x, x) Θ(x', x')) of rows with themselves: `(n, n)`, diagonal 1."""
    below = gram_below(rows, kernel)
    scales = 1.0 / np.sqrt(kernel.diagonal(rows).astype(np.float64))
    gram = np.tril(below.astype(np.float64), -1) * scales[:, None] * scales
    gram += gram.T
    np.fill_diagonal(gram, 1.0)
    return gram


def cross_kernel(
    left: RowBlock, right: list[RowBlock], kernel: TileKernel
) -> Float[np.ndarray, "l r"]:
    """Compute Θ of some rows with all of others, `(l, r)` in C order.

    The others are in pieces of `TILE` rows, which a caller cuts and transposes only once.
    """
    tops = list(left.pieces(TILE))
    out = np.empty((len(left), sum(map(len, right))), dtype=kernel.dtype)

    def fill(top: int, side: int) -> None:
        target = out[top * TILE : (top + 1) * TILE, side * TILE : (side + 1) * TILE]
        target[:] = kernel.tile(tops[top], right[side])

    calls = [partial(fill, top, side) for top in range(len(tops)) for side in range(len(right))]
    if len(left) <= SHORT:
        # It is less work than to start threads.
        for call in calls:
            call()
    else:
        with one_thread():
            run_all(calls)
    return out
