"""Models on bare matrices, without a log or a store."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, FittedModel, TrainingRows
from perennial.replay.config import ModelChoice
from perennial.replay.python.settings import MEMORY_LIMIT, make_limits
from perennial.replay.recommend.recommender import check_k, rank_contexts
from perennial.storage.base import Json, Progress, ignore_progress
from perennial.storage.errors import UserError


@dataclass(frozen=True)
class Estimator:
    """A model with its settings, to be fitted on a matrix, or on a log by `fit` and `replay`."""

    choice: ModelChoice

    def fit(
        self,
        interactions: Any,
        *,
        seed: int = 0,
        memory_limit: int | str | None = MEMORY_LIMIT,
        max_rows: int | None = None,
        progress: Progress = ignore_progress,
    ) -> "MatrixModel":
        """Fit the model on a sparse or dense matrix `(users, items)` with values in [0, 1].

        Users without interactions are left out. `memory_limit` is in bytes, or text such as `8GiB`
        or `70%`.

        Raises:
            UserError: it is no such matrix, it has no interactions, or the limit is too small.
        """
        limits = make_limits(memory_limit, max_rows)
        rows = to_rows(interactions)
        rows = csr_array(rows[np.diff(rows.indptr) > 0])
        num_rows = rows.shape[0]
        if not num_rows:
            raise UserError("the matrix has no interactions; there is nothing to fit a model on")
        training = TrainingRows(
            interactions=rows,
            weights=np.ones(num_rows),
            replayed=np.zeros(num_rows, dtype=np.bool_),
            last_period=np.ones(num_rows, dtype=np.int32),
        )
        options = FitOptions(seed, limits.memory_limit, limits.max_rows, progress=progress)
        return MatrixModel(self.choice.recipe.fit(training, options))


@dataclass(frozen=True)
class MatrixModel:
    """A model that is fitted on a matrix; items are its columns."""

    model: FittedModel

    def recommend(
        self, contexts: Any, k: int = 10, *, keep_seen: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Recommend `k` items to each row of a sparse or dense matrix `(n, items)`.

        Items of the row itself are left out unless `keep_seen`.

        Returns:
            The items `(n, k)`, best first, −1 where a row has fewer; and their scores `(n, k)`,
            NaN where there is no item.

        Raises:
            UserError: it is no such matrix, or has another number of items than the model.
        """
        check_k(k)
        rows, num_items = to_rows(contexts), self.model.num_items
        if rows.shape[1] != num_items:
            raise UserError(f"the rows have {rows.shape[1]:,} items, the model {num_items:,}")
        nothing = csr_array(np.zeros((1, num_items), dtype=np.float32))
        items = np.empty((rows.shape[0], k), dtype=np.int32)
        scores = np.empty((rows.shape[0], k), dtype=np.float32)
        start = 0
        for best, values in rank_contexts(self.model, rows, k, nothing, not keep_seen):
            stop = start + len(best)
            items[start:stop], scores[start:stop] = best, values
            start = stop
        scores[items < 0] = np.nan
        return items, scores


def to_rows(matrix: Any) -> csr_array:
    """Return a matrix as `(n, num_items)` float32 CSR, a copy without zeros and duplicates.

    Raises:
        UserError: it is no matrix, or a value is outside [0, 1].
    """
    try:
        rows = csr_array(matrix, dtype=np.float32, copy=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"no matrix of users and items: {error}") from None
    if rows.ndim != 2:
        raise UserError(f"a matrix of users and items has 2 dimensions, this one {rows.ndim}")
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not ((rows.data > 0) & (rows.data <= 1)).all():
        raise UserError("a value of the matrix is outside [0, 1]; give 1 for an interaction")
    return rows


def estimator(model: str, /, **settings: Json) -> Estimator:
    """Return a model, by its name or by `package.module:Class`, with some of its settings given.

    Raises:
        UserError: there is no such model or setting, or a value does not fit.
    """
    choice = ModelChoice(model, settings)
    choice.recipe  # noqa: B018  # Built here, so that mistakes show at once.
    return Estimator(choice)


def choose_model(model: str | Estimator) -> ModelChoice:
    """Return the choice of a model; raise `UserError` for what is no name and no estimator."""
    if isinstance(model, Estimator):
        return model.choice
    if isinstance(model, str):
        return ModelChoice(model)
    raise UserError(f"{model!r} is no model; give a name, or an estimator such as InfiniteAE()")


InfiniteAE = partial(estimator, "infinite-ae")
MVAE = partial(estimator, "mvae")
Ease = partial(estimator, "ease")
LightGCN = partial(estimator, "lightgcn")
MF = partial(estimator, "mf")
NeuMF = partial(estimator, "neumf")
Bias = partial(estimator, "bias")
Pop = partial(estimator, "pop")
