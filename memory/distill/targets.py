"""Leave-one-out targets: what a summary should predict for each user.

In the paper the target of the outer loss is the user's own row, and a support with as many degrees
of freedom as rows learns to copy it: validation turns after some fifty steps. ∞-AE on all users
predicts smoother rows, and its leave-one-out predictions hold no copy of the row itself. They have
a closed form: with f the predictions of the fit on everybody and h the leverages, what H = ∂f/∂X
has on its diagonal, the fit without u predicts (f_u − h_u X_u) / (1 − h_u) for u (Allen's PRESS;
Rasmussen & Williams, Gaussian Processes for Machine Learning, Eq. 5.12).

The kernel is projected on some of the users, the landmarks (the subset of regressors of Rasmussen &
Williams, section 8.3.1; exact where all are landmarks): O(n m²) operations and O(n m) memory. The
λ of the targets is so large that few directions of the kernel count.
"""

from functools import cached_property, partial

import jax
import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.linalg import cholesky, solve_triangular

from perennial.memory.distill.objective import NETWORK
from perennial.models.base import TrainingRows
from perennial.models.infinite_ae.kernel import kernel_diagonal, kernel_values
from perennial.models.mesh import threads_for
from perennial.storage.parallel import run_all

NUM_LANDMARKS = 1024
"""m; as good as all of ML-1M's 6,040 users, see benchmarks/RESULTS.md."""

_JITTER = 1e-9
"""Share of the mean diagonal; keeps the factorisation from failing on equal rows."""

_SQUARED_LANDMARKS = 128
"""Columns of Q whose combination over all items exists at a time in a thread."""

_SQUARED_USERS = 4096


class LeaveOneOutTargets:
    """Leave-one-out predictions of ∞-AE mixed with the users' own rows.

    A replayed row stands for many users, and leaving it out would forget them all: its target is
    predicted by the fit with it. For many items, `squares`, `inner` and `coefficients` compute with
    the targets T = F Qᵀ X + c X without making them.

    Args:
        rows: X, n rows over i items, their weights, and which are replayed.
        reg: λ of ∞-AE.
        share: of the predictions in the targets; the rest is the rows themselves.
        num_items: d of the kernel.
        seed: of the landmarks.
    """

    def __init__(
        self, rows: TrainingRows, reg: float, share: float, num_items: int, seed: int
    ) -> None:
        self.rows = rows.interactions
        self._share = share
        if share == 0:
            return
        projected = _project(rows, reg, num_items, seed)
        leverages = (projected**2).sum(axis=1)
        roots = np.sqrt(rows.weights)
        self._left = (projected / roots[:, None]).astype(np.float32)
        # H = W^(−½) P Pᵀ W^(½), and f = H X.
        self._scaled = (projected * roots[:, None]).astype(np.float32)
        self._leverages = np.where(rows.replayed, 0, leverages).astype(np.float32)

    @cached_property
    def _right(self) -> Float32[np.ndarray, "i m"]:
        """XᵀQ."""
        return np.asarray(self.rows.T @ self._scaled)

    @property
    def scaled(self) -> Float32[np.ndarray, "n m"]:
        """Q, which `factors` combines; m is 0 where the targets are the rows."""
        if self._share == 0:
            return np.zeros((self.rows.shape[0], 0), dtype=np.float32)
        return self._scaled

    def factors(
        self, users: Int64[np.ndarray, " u"]
    ) -> tuple[Float32[np.ndarray, "u m"], Float32[np.ndarray, " u"]]:
        """Return F and c of some users by row number: their targets are F Qᵀ X + c X_u."""
        if self._share == 0:
            return np.zeros((len(users), 0), np.float32), np.ones(len(users), np.float32)
        leverages = self._leverages[users]
        size = self._share / (1 - leverages)
        return self._left[users] * size[:, None], 1 - self._share - size * leverages

    def dense(self, users: Int64[np.ndarray, " u"]) -> Float32[np.ndarray, "u i"]:
        """Return the targets of some users, by row number."""
        own: Float32[np.ndarray, "u i"] = self.rows[users].toarray()
        if self._share == 0:
            return own
        leverages = self._leverages[users, None]
        predicted = (self._left[users] @ self._right.T - leverages * own) / (1 - leverages)
        mixed: Float32[np.ndarray, "u i"] = self._share * predicted + (1 - self._share) * own
        return mixed

    def squares(self) -> Float64[np.ndarray, " n"]:
        """Compute |t|² of all users' targets without making the targets.

        With D = X Xᵀ Q it is F Qᵀ D Fᵀ + 2 c F Dᵀ + c² |x|², user by user.
        """
        scaled, rows = self.scaled, self.rows
        starts = range(0, scaled.shape[1], _SQUARED_LANDMARKS)
        by_item = rows.T.tocsr()

        def spread(start: int) -> Float32[np.ndarray, "n part"]:
            piece = np.ascontiguousarray(scaled[:, start : start + _SQUARED_LANDMARKS])
            product: Float32[np.ndarray, "n part"] = rows @ (by_item @ piece)
            return product

        parts = run_all([partial(spread, start) for start in starts])
        spreads = np.concatenate(parts, axis=1) if parts else scaled
        middle = (scaled.T @ spreads).astype(np.float64)
        own_squares = np.asarray((rows**2).sum(axis=1), dtype=np.float64).ravel()
        squares = np.empty(rows.shape[0])
        for start in range(0, rows.shape[0], _SQUARED_USERS):
            users = np.arange(start, min(start + _SQUARED_USERS, rows.shape[0]))
            factors, own = self.factors(users)
            factors, own = factors.astype(np.float64), own.astype(np.float64)
            crossed = (factors * spreads[users]).sum(axis=1)
            squared = ((factors @ middle) * factors).sum(axis=1)
            squares[users] = squared + 2 * own * crossed + own**2 * own_squares[users]
        return np.maximum(squares, 0)

    def inner(
        self, users: Int64[np.ndarray, " u"], similar: Float32[np.ndarray, "n k"]
    ) -> Float32[np.ndarray, "u k"]:
        """Multiply some users' targets with vectors, given by their products with all rows."""
        factors, own = self.factors(users)
        products: Float32[np.ndarray, "u k"] = factors @ (self.scaled.T @ similar)
        products += own[:, None] * similar[users]
        return products

    def coefficients(
        self, users: Int64[np.ndarray, " u"], slopes: Float32[np.ndarray, "u k"]
    ) -> Float32[np.ndarray, "n k"]:
        """Express combinations of some users' targets as combinations of all rows.

        No user is twice among them; `slopes` has a column for each combination.
        """
        factors, own = self.factors(users)
        combined: Float32[np.ndarray, "n k"] = self.scaled @ (factors.T @ slopes)
        combined[users] += own[:, None] * slopes
        return combined


def _project(
    rows: TrainingRows, reg: float, num_items: int, seed: int
) -> Float64[np.ndarray, "n m"]:
    """Compute P: P Pᵀ = W^(½) K̃ W^(½) (W^(½) K̃ W^(½) + λ' I)⁻¹, K̃ the projected kernel."""
    count = rows.num_rows
    generator = np.random.default_rng(seed)
    landmarks = np.sort(generator.permutation(count)[:NUM_LANDMARKS])
    matrix = rows.interactions.astype(np.float64)
    with jax.enable_x64(True):
        squares = np.asarray((matrix**2).sum(axis=1)).ravel()
        inner = (matrix @ matrix[landmarks].T).toarray()
        kernel = np.array(kernel_values(inner, squares, squares[landmarks], num_items, NETWORK))
        diagonal = np.asarray(kernel_diagonal(squares, num_items, NETWORK))
    kernel[landmarks, np.arange(len(landmarks))] = diagonal[landmarks]
    ridge = reg * diagonal.mean()
    small = kernel[landmarks]
    small[np.diag_indices_from(small)] += _JITTER * diagonal.mean()
    # P = W^(½) K_nm (λ' K_mm + K_mn W K_nm)^(−½).
    weighted = kernel * np.sqrt(rows.weights)[:, None]
    with threads_for(count):
        system = ridge * (small + small.T) / 2 + weighted.T @ weighted
        factor = cholesky(system, lower=True, overwrite_a=True, check_finite=False)
        projected: Float64[np.ndarray, "n m"] = solve_triangular(
            factor, weighted.T, lower=True, overwrite_b=True, check_finite=False
        ).T
    return projected
