"""Bias-only: a score is the mean, the bias of the user and the bias of the item.

The regularised biases that rating prediction starts from (Koren, KDD 2008, Eq. 1; `BiasModel` of
lenskit, `BaselineOnly` of surprise), with all cells of the 0/1 matrix where these have the ratings.
With x in [0, 1] a cell counts as an interaction of weight x and as none of weight 1 − x:

    Σ_u w_u Σ_i [x_ui (1 − ŷ_ui)² + ω (1 − x_ui) ŷ_ui²] + γ Σ_i b_i² + γ Σ_u w_u c_u²

is least for ŷ_ui = μ + b_i + c_u. μ is the mean of all cells so weighted.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.scoring import context_blocks
from perennial.models.selection import (
    Candidate,
    HoldoutRecipe,
    choose_and_solve,
    cross,
    report_choice,
)
from perennial.storage.base import Json
from perennial.storage.errors import UserError

_MOST_STEPS = 200
_ACCURACY = 1e-12

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class FittedBias:
    """Biases of the items `(num_items,)`, with μ, ω and γ, which a user's bias follows from."""

    mean: float
    item_bias: Vector
    unobserved: float
    damping: float
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.item_bias)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute μ + b_i + c_u with c_u of the context, which need be no training row."""
        items = self.mean + self.item_bias
        for block in context_blocks(contexts, self.num_items, block_rows):
            cells = _Cells(block, self.unobserved)
            users = (cells.row_sums - cells.weigh_columns(items)) / (cells.filled + self.damping)
            yield (items + users[:, None]).astype(np.float32)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the items' biases; JSON keeps every bit of μ, ω and γ in the manifest."""
        return {"item_bias": self.item_bias}, {
            "mean": self.mean,
            "unobserved": self.unobserved,
            "damping": self.damping,
            "report": dict(self.report),
        }


@dataclass(frozen=True)
class Bias(HoldoutRecipe[FittedBias]):
    """The recipe of the bias-only model.

    With ω = 1 the items are in the order of popularity whatever γ is; with a smaller one, items
    that users of few interactions choose rise.

    Attributes:
        unobserved: the grid of ω, weight of a cell without an interaction relative to one with,
            of which validation chooses by HR@100; the first without validation rows.
        dampings: the grid of γ, likewise: the number of cells at the mean added to each bias.
        validation_users: largest number of validation rows, a seeded sample; `None` means all.
    """

    name: ClassVar[str] = "bias"

    unobserved: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    dampings: tuple[float, ...] = (5.0, 25.0, 100.0)
    validation_users: int | None = 2000

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not self.unobserved or not all(0 < weight <= 1 for weight in self.unobserved):
            raise ValueError("unobserved must name at least one weight, each in (0, 1]")
        if not self.dampings or not all(0 < damping < np.inf for damping in self.dampings):
            raise ValueError("dampings must name at least one damping, each above 0")
        if self.validation_users is not None and self.validation_users < 1:
            raise ValueError("validation_users must be at least 1")

    @property
    def draws_at_random(self) -> bool:
        """True if ω or γ is chosen on a drawn holdout."""
        return len(self.unobserved) * len(self.dampings) > 1

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedBias:
        """Choose ω and γ on a given holdout, then solve with `rows`."""
        grid = cross({"unobserved": self.unobserved, "damping": self.dampings})
        trials, model = choose_and_solve(
            grid, holdout, rows, options, lambda prepared: partial(_solve, prepared)
        )
        return dataclasses.replace(model, report=report_choice(trials, holdout, rows))

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedBias:
        """Restore the model that `FittedBias.to_arrays` was called on."""
        try:
            item_bias = np.asarray(arrays["item_bias"], dtype=np.float64)
            mean, unobserved, damping = (
                float(manifest[key]) for key in ("mean", "unobserved", "damping")
            )
            if item_bias.ndim != 1 or not np.isfinite([*item_bias, mean]).all():
                raise ValueError("the biases are no list of numbers")
            if not (0 < unobserved <= 1 and 0 < damping < np.inf):
                raise ValueError("a setting is out of range")
            return FittedBias(mean, item_bias, unobserved, damping, dict(manifest["report"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"bias: the stored model is damaged ({error}); fit it again") from None


class _Cells:
    """All cells of a matrix with their weights a = x + ω(1 − x), never made dense.

    `row_sums` are `(n,)` Σ_i x_ui, and `filled` `(n,)` Σ_i a_ui.
    """

    def __init__(self, rows: csr_array, unobserved: float) -> None:
        self._rows = rows.astype(np.float64)
        self._unobserved = unobserved
        self.row_sums: Vector = np.asarray(self._rows.sum(axis=1), dtype=np.float64)
        self.filled = self.weigh_columns(np.ones(rows.shape[1]))

    def weigh_columns(self, values: Vector) -> Vector:
        """`(num_items,)` v ↦ `(n,)` Σ_i a_ui v_i."""
        return self._blend(values, self._rows @ values)

    def weigh_rows(self, values: Vector) -> Vector:
        """`(n,)` v ↦ `(num_items,)` Σ_u a_ui v_u."""
        return self._blend(values, self._rows.T @ values)

    def _blend(self, values: Vector, observed: Vector) -> Vector:
        blended: Vector = self._unobserved * values.sum() + (1 - self._unobserved) * observed
        return blended


def _solve(rows: TrainingRows, candidate: Candidate) -> FittedBias:
    """Solve the normal equations, the biases of the users eliminated.

    The system that is left is a diagonal less a part that is the same for almost all items, so
    conjugate gradients take a few steps, each as cheap as two products with X.
    """
    unobserved, damping = candidate["unobserved"], candidate["damping"]
    cells, weights = _Cells(rows.interactions, unobserved), rows.weights
    item_sums: Vector = rows.interactions.T.astype(np.float64) @ weights
    item_filled = cells.weigh_rows(weights)
    filled = float(item_filled.sum())
    mean = float(item_sums.sum()) / filled if filled else 0.0
    shares = weights / (cells.filled + damping)
    users = shares * (cells.row_sums - mean * cells.filled)
    right = item_sums - mean * item_filled - cells.weigh_rows(users)
    diagonal = item_filled + damping
    shape = (len(diagonal), len(diagonal))

    def apply(bias: Vector) -> Vector:
        through_users = cells.weigh_rows(shares * cells.weigh_columns(bias))
        product: Vector = diagonal * bias - through_users
        return product

    # ML-1M takes nine steps at most, so the bound on them is only there to end.
    item_bias, _ = cg(
        LinearOperator(shape, matvec=apply, dtype=np.float64),
        right,
        rtol=_ACCURACY,
        maxiter=_MOST_STEPS,
        M=LinearOperator(shape, matvec=lambda left: left / diagonal, dtype=np.float64),
    )
    return FittedBias(mean, item_bias, unobserved, damping, {})
