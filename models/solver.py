"""Systems K + λ'W⁻¹ for one K and many λ: factorise, solve, and compute rows of the inverse.

On a CPU one n × n buffer is enough: K below the diagonal, the factor of the current λ on and above
it. LAPACK works on it in place, through SciPy, since XLA's Cholesky is several times slower there.
On an accelerator JAX works on the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from perennial.models.mesh import ON_EACH, SHARED_OUT, mesh_of, put_on_each, threads_for
from perennial.storage.errors import UserError

_COPY_TILE = 512
_INVERT_SHARE = 0.6
"""Share of the rows above which inverting the whole matrix costs less than solving for them."""


@runtime_checkable
class Factor(Protocol):
    """A factorised system."""

    def solve(self, right: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
        """Compute B (K + λ'W⁻¹)⁻¹ of B `(b, n)`, which may be overwritten."""


class KernelSystem(ABC):
    """K with its row weights, prepared for any λ."""

    def __init__(
        self, diagonal: Float[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]
    ) -> None:
        self._diagonal = diagonal
        self._weights = weights

    def ridge(self, reg: float) -> float:
        """Compute λ' = λ Σ w K(x,x) / Σ w, which is λ tr(K)/n for equal weights; 0 without rows.

        The paper's Eq. 1 adds plain λ. The authors' code scales it so, and λ then means the same
        for any number of rows. With the weighted mean a row of weight 2 is two equal rows.
        """
        if len(self._weights) == 0:
            return 0.0
        diagonal = self._diagonal.astype(np.float64)
        return reg * float(np.average(diagonal, weights=self._weights))

    @abstractmethod
    def factorise(self, reg: float) -> Factor:
        """Factorise for one λ; on a CPU the factor is valid until the next call on the system.

        A matrix that is not positive definite to the dtype's accuracy is a `UserError`.
        """

    @abstractmethod
    def inverse_rows(
        self, reg: float, first: int, block_rows: int
    ) -> Iterator[Float[np.ndarray, "b n"]]:
        """Yield the rows of (K + λ'W⁻¹)⁻¹ from `first` on, in blocks `(≤ block_rows, n)`."""


def make_system(
    gram: Float[np.ndarray, "n n"],
    diagonal: Float[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"],
) -> KernelSystem:
    """Make the system for the processor that JAX runs on.

    The Gram matrix is `(n, n)` in C order, K below the diagonal; it is overwritten. Its diagonal
    and the weights > 0 are `(n,)`.
    """
    if jax.default_backend() == "cpu":
        return LapackSystem(gram, diagonal, weights)
    return DeviceSystem(gram, diagonal, weights)


def inverse_rows_bytes(num_rows: int, count: int, itemsize: int) -> int:
    """Estimate the bytes of `inverse_rows` for `count` rows, besides the buffer and a block."""
    if count >= _INVERT_SHARE * num_rows:
        return 0
    return 2 * itemsize * count**2


def _not_definite(reg: float, dtype: np.dtype[Any]) -> UserError:
    return UserError(
        f"∞-AE: the kernel matrix with λ = {reg:g} is singular in {dtype}; "
        "take a larger λ, a larger jitter, or precision float64"
    )


class LapackSystem(KernelSystem):
    """System on a CPU."""

    def __init__(
        self,
        gram: Float[np.ndarray, "n n"],
        diagonal: Float[np.ndarray, " n"],
        weights: Float64[np.ndarray, " n"],
    ) -> None:
        super().__init__(diagonal, weights)
        # Columns of LAPACK's matrix are our rows: its lower triangle lies above our diagonal.
        self._buffer = gram
        routines: Any = lapack.get_lapack_funcs(("potrf", "potri", "potrs", "trtri"), (gram,))
        self._potrf, self._potri, self._potrs, self._trtri = routines
        self._trsm: Any = blas.get_blas_funcs("trsm", (gram,))

    def factorise(self, reg: float) -> "LapackFactor":
        """Copy K above the diagonal, add λ'W⁻¹ and factorise in place."""
        buffer = self._buffer
        for start in range(0, len(buffer), _COPY_TILE):
            rows = slice(start, start + _COPY_TILE)
            for other in range(0, start + 1, _COPY_TILE):
                columns = slice(other, other + _COPY_TILE)
                if other == start:
                    tile = buffer[rows, rows]
                    upper = np.triu_indices(len(tile), 1)
                    tile[upper] = tile.T[upper]
                else:
                    buffer[columns, rows] = buffer[rows, columns].T
        np.fill_diagonal(buffer, self._diagonal + self.ridge(reg) / self._weights)
        if len(buffer):
            with threads_for(len(buffer)):
                _, info = self._potrf(buffer.T, lower=1, clean=0, overwrite_a=1)
            if info:
                raise _not_definite(reg, buffer.dtype)
        return LapackFactor(buffer.T, self._potrs)

    def inverse_rows(
        self, reg: float, first: int, block_rows: int
    ) -> Iterator[Float[np.ndarray, "b n"]]:
        """Yield the last rows `(b, n)` of the inverse: through all of it if they are many."""
        factor = self.factorise(reg).triangle
        num_rows = len(self._buffer)
        if num_rows - first >= _INVERT_SHARE * num_rows:
            yield from self._rows_of_inverse(first, block_rows)
            return
        # L z = e has zeros above the one, so the first step needs only the last corner of L.
        corner = np.asfortranarray(np.tril(factor[first:, first:]))
        if corner.size:
            with threads_for(num_rows):
                self._trtri(corner, lower=1, overwrite_c=1)
        for start in range(first, num_rows, block_rows):
            stop = min(start + block_rows, num_rows)
            right = np.zeros((num_rows, stop - start), dtype=factor.dtype, order="F")
            right[first:] = corner[:, start - first : stop - first]
            with threads_for(num_rows):
                solution = self._trsm(1.0, factor, right, lower=1, trans_a=1, overwrite_b=1)
            yield solution.T

    def _rows_of_inverse(self, first: int, block_rows: int) -> Iterator[Float[np.ndarray, "b n"]]:
        buffer = self._buffer
        if len(buffer):
            with threads_for(len(buffer)):
                _, info = self._potri(buffer.T, lower=1, overwrite_c=1)
            assert info == 0, "a Cholesky factor has no zero on its diagonal"  # noqa: S101
        for start in range(first, len(buffer), block_rows):
            stop = min(start + block_rows, len(buffer))
            block = np.empty((stop - start, len(buffer)), dtype=buffer.dtype)
            block[:, :start] = buffer[:start, start:stop].T
            corner = np.triu(buffer[start:stop, start:stop])
            block[:, start:stop] = corner + np.triu(corner, 1).T
            block[:, stop:] = buffer[start:stop, stop:]
            yield block


@dataclass(frozen=True)
class LapackFactor:
    """A Cholesky factor.

    Attributes:
        triangle: `(n, n)` in Fortran order, L in its lower triangle.
        potrs: LAPACK's solve for the dtype.
    """

    triangle: Float[np.ndarray, "n n"]
    potrs: Any

    def solve(self, right: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
        """Compute B (K + λ'W⁻¹)⁻¹ of B `(b, n)`, which may be overwritten."""
        if right.size == 0:
            return right
        with threads_for(len(self.triangle)):
            solution, _ = self.potrs(self.triangle, right.T, lower=1, overwrite_b=1)
        return solution.T  # type: ignore[no-any-return]


class DeviceSystem(KernelSystem):
    """System on JAX's devices.

    XLA does not divide a Cholesky factorisation, so each device of a mesh has the whole matrix and
    computes the same factor; the right sides are divided, and nothing is exchanged.

    Args:
        gram: `(n, n)` on the host, K below the diagonal; or `(p, p)` on the devices of a mesh, the
            whole K, padded with a part of the identity.
        diagonal: `(n,)`, diagonal of K.
        weights: `(n,)` > 0, W.
    """

    def __init__(
        self,
        gram: Float[np.ndarray, "n n"] | Float[Array, "p p"],
        diagonal: Float[np.ndarray, " n"],
        weights: Float64[np.ndarray, " n"],
    ) -> None:
        super().__init__(diagonal, weights)
        self._double = gram.dtype == np.float64
        self._kernel: Array
        with jax.enable_x64(self._double):
            if isinstance(gram, Array):
                self._kernel = put_on_each(gram, mesh_of(gram))
            else:
                below = jnp.tril(jnp.asarray(gram), -1)
                self._kernel = below + below.T + jnp.diag(jnp.asarray(diagonal))

    def factorise(self, reg: float) -> "DeviceFactor":
        """Factorise on the device."""
        dtype = np.dtype(self._kernel.dtype)
        added = np.zeros(len(self._kernel), dtype=dtype)
        added[: len(self._weights)] = self.ridge(reg) / self._weights
        with jax.enable_x64(self._double):
            triangle, finite = _cholesky(self._kernel, added)
            if not bool(finite):
                raise _not_definite(reg, dtype)
        return DeviceFactor(triangle, len(self._weights))

    def inverse_rows(
        self, reg: float, first: int, block_rows: int
    ) -> Iterator[Float[np.ndarray, "b n"]]:
        """Solve for rows of the identity in blocks `(b, n)`."""
        factor = self.factorise(reg)
        num_rows = len(self._weights)
        for start in range(first, num_rows, block_rows):
            count = min(block_rows, num_rows - start)
            # The last block is as tall as the others, so that nothing is compiled for it.
            unit = np.zeros((min(block_rows, num_rows - first), num_rows), self._diagonal.dtype)
            unit[np.arange(count), start + np.arange(count)] = 1
            yield factor.solve(unit)[:count]


@dataclass(frozen=True)
class DeviceFactor:
    """A Cholesky factor on the devices.

    Attributes:
        triangle: `(p, p)` L, on each device of a mesh.
        num_rows: n ≤ p; the other rows are padding.
    """

    triangle: Float[Array, "p p"]
    num_rows: int

    def solve(self, right: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
        """Compute B (K + λ'W⁻¹)⁻¹ of B `(b, n)`."""
        wide = np.pad(right, ((0, 0), (0, len(self.triangle) - self.num_rows)))
        with jax.enable_x64(self.triangle.dtype == jnp.float64):
            solution: NDArray[Any] = np.asarray(_solve(self.triangle, wide))
        return solution[:, : self.num_rows]

    def solve_shared_out(self, right: Float[Array, "c p"]) -> Float[Array, "c p"]:
        """Compute B (K + λ'W⁻¹)⁻¹ of B `(c, p)`, whose rows are shared out before and after."""
        with jax.enable_x64(self.triangle.dtype == jnp.float64):
            solution: Array = _solve_shared_out(self.triangle, right, mesh_of(right))
        return solution


@jax.jit
def _cholesky(
    kernel: Float[Array, "p p"], added: Float[Array, " p"]
) -> tuple[Float[Array, "p p"], Bool[Array, ""]]:
    """Factorise with numbers added to the diagonal; the second result is True if it is finite."""
    triangle = jnp.linalg.cholesky(kernel + jnp.diag(added))
    return triangle, jnp.isfinite(triangle).all()


@jax.jit
def _solve(triangle: Float[Array, "p p"], right: Float[Array, "c p"]) -> Float[Array, "c p"]:
    solution: Array = cho_solve((triangle, True), right.T).T
    return solution


@partial(jax.jit, static_argnames="mesh")
def _solve_shared_out(
    triangle: Float[Array, "p p"], right: Float[Array, "c p"], mesh: Mesh
) -> Float[Array, "c p"]:
    run = jax.shard_map(
        _solve, mesh=mesh, in_specs=(ON_EACH, SHARED_OUT), out_specs=SHARED_OUT, check_vma=False
    )
    solution: Array = run(triangle, right)
    return solution
