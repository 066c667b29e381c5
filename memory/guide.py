"""What each user would like, predicted without that user: the targets a summary learns to give.

A user's own row is what the outer loss of the paper asks for, and a support with as many degrees of
freedom as rows learns to copy it: validation turns after some fifty steps. ∞-AE on all users
predicts smoother rows, and its leave-one-out predictions hold no copy of the row itself; they have
a closed form. With A = K + λ'I and α = A⁻¹X, the prediction for user u of the fit without u is
X_u − α_u / (A⁻¹)_uu (Rasmussen & Williams, Gaussian Processes for Machine Learning, Eq. 5.12).

A replayed row stands for many users, and leaving it out would forget them all: its target is the
prediction of the fit with it, X_u − λ'/w_u α_u.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from memory.objective import NETWORK
from models.kernel import kernel_diagonal, kernel_values
from models.protocol import TrainingRows
from storage.errors import UserError


class Guide:
    """Leave-one-out predictions of ∞-AE mixed with the users' own rows; O(n²) memory.

    Args:
        rows: n rows over i items, their weights, and which are replayed.
        reg: λ of ∞-AE.
        share: of the predictions in the targets; the rest is the rows themselves.
        num_items: d of the kernel.
    """

    def __init__(self, rows: TrainingRows, reg: float, share: float, num_items: int) -> None:
        self._rows = rows.interactions
        self._share = share
        # Rows of A⁻¹, each times what brings it from the row to the prediction.
        self._residuals = _scaled_inverse(rows, reg, num_items) if share > 0 else None

    def targets(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """The targets of some users.

        Args:
            users: `(u,)` row numbers.

        Returns:
            `(u, i)` float32.
        """
        own: NDArray[np.float32] = self._rows[users].toarray()
        if self._residuals is None:
            return own
        # X_u − share · α_u / (A⁻¹)_uu is the mixture of X_u and the prediction.
        residuals = np.asarray(self._rows.T @ self._residuals[users].T).T
        mixed: NDArray[np.float32] = np.ascontiguousarray(own - self._share * residuals)
        return mixed


def _scaled_inverse(rows: TrainingRows, reg: float, num_items: int) -> NDArray[np.float32]:
    """`(n, n)` rows of A⁻¹ over their diagonal entries, or times λ'/w where they are replayed."""
    gram = _gram(rows.interactions, num_items)
    ridge = (reg * gram.diagonal().mean() / rows.weights).astype(np.float32)
    gram[np.diag_indices_from(gram)] += ridge
    if jax.default_backend() == "cpu":
        inverse = _inverse_on_host(gram, reg)
    else:
        inverse = np.array(jnp.linalg.inv(jnp.asarray(gram)))
    inverse *= np.where(rows.replayed, ridge, 1 / inverse.diagonal())[:, None]
    return inverse


def _gram(rows: csr_array, num_items: int) -> NDArray[np.float32]:
    inner = np.asarray((rows @ rows.T).toarray(), dtype=np.float32)
    squares = inner.diagonal().copy()
    gram = np.array(kernel_values(inner, squares, squares, num_items, NETWORK))
    np.fill_diagonal(gram, np.asarray(kernel_diagonal(squares, num_items, NETWORK)))
    return gram


def _inverse_on_host(gram: NDArray[np.float32], reg: float) -> NDArray[np.float32]:
    """A⁻¹ by LAPACK, in place: XLA's Cholesky is several times slower on a CPU."""
    # K is symmetric, so its transpose is K in the order that LAPACK wants.
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        factor, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise UserError(f"distillation: the kernel is singular at guide_reg {reg:g}; raise it")
    lower = np.tril(factor)
    inverse: NDArray[np.float32] = lower + np.tril(lower, -1).T
    return inverse
