"""Recipes, fitted models, and the rows they are fitted on: what every model has in common."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.base import Json, Progress, ignore_progress
from perennial.storage.errors import MemoryLimitExceeded
from perennial.storage.log.matrices import UserRows


@dataclass(frozen=True)
class TrainingRows:
    """The rows a model is fitted on.

    Attributes:
        interactions: `(num_rows, num_items)` float32, values in [0, 1]; binary for real users.
            `num_items` is d of the kernel: the items seen in periods ≤ t.
        weights: `(num_rows,)` float64 > 0, the weight of each row in the loss.
        replayed: `(num_rows,)` bool, rows that come from a memory: never held out for validation.
        last_period: `(num_rows,)` int32, the period of the row's last event; a row cap keeps the
            most recent of the real rows, and of the replayed ones.
        teacher: an earlier model; replayed rows are fitted to its scores instead of to themselves,
            over the items that it can score, which include all items of these rows.
    """

    interactions: csr_array
    weights: NDArray[np.float64]
    replayed: NDArray[np.bool_]
    last_period: NDArray[np.int32]
    teacher: "FittedModel | None" = None

    @classmethod
    def of_users(cls, rows: UserRows) -> "TrainingRows":
        """Training rows of real users, each with weight 1."""
        num_rows = len(rows.users)
        return cls(
            interactions=rows.interactions,
            weights=np.ones(num_rows),
            replayed=np.zeros(num_rows, dtype=np.bool_),
            last_period=rows.last_period,
        )

    def take(self, chosen: NDArray[np.integer[Any]]) -> "TrainingRows":
        """Return the rows of the numbers `(n,)`, in that order."""
        return TrainingRows(
            interactions=self.interactions[chosen],
            weights=self.weights[chosen],
            replayed=self.replayed[chosen],
            last_period=self.last_period[chosen],
            teacher=self.teacher,
        )

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return int(self.interactions.shape[0])

    @property
    def num_items(self) -> int:
        """Number of columns."""
        return int(self.interactions.shape[1])


@dataclass(frozen=True)
class Holdout:
    """Training rows less some interactions, and those interactions as targets.

    Attributes:
        training: the rows that were given, in the same order, without what is held out.
        users: `(v,)` int64, numbers of the validation rows, ascending.
        targets: `(v, num_items)` float32 binary, what was held out of each of them; none is empty.
        external_contexts: `(v, num_items)` float32 binary, the contexts of validation users that
            are not training rows, as with a summary; `users` then numbers the rows they come from.
    """

    training: TrainingRows
    users: NDArray[np.int64]
    targets: csr_array
    external_contexts: csr_array | None = None

    @property
    def contexts(self) -> csr_array:
        """`(v, num_items)`, the rest of each validation row: what a model scores and masks."""
        if self.external_contexts is not None:
            return self.external_contexts
        return self.training.interactions[self.users]

    def take(self, chosen: NDArray[np.int64]) -> "Holdout":
        """Return only the validation rows at these places, `(c,)` ascending."""
        external = self.external_contexts
        return replace(
            self,
            users=self.users[chosen],
            targets=self.targets[chosen],
            external_contexts=None if external is None else external[chosen],
        )


@dataclass(frozen=True)
class FitOptions:
    """Options of one fit that are no settings of the model.

    Attributes:
        seed: every random draw of the fit derives from it.
        memory_limit: bytes the fit may allocate; `None` means no limit.
        max_rows: the row cap to take when the rows do not fit `memory_limit`, or `None` for the
            largest number that fits. A cap below the number of rows is always applied.
        previous: the model of the period before, for a warm start.
    """

    seed: int
    memory_limit: int | None = None
    max_rows: int | None = None
    previous: "FittedModel | None" = None
    progress: Progress = field(default=ignore_progress)


class FittedModel(Protocol):
    """A model that can score."""

    @property
    def num_items(self) -> int:
        """Items that the model can score: the prefix 0..num_items−1 of the vocabulary."""

    @property
    def report(self) -> Mapping[str, Json]:
        """Choices and sizes of the fit: `reg`, `rows_used`, `rows_given`, `epochs`, ..."""

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Score all items for each context row.

        Args:
            contexts: `(n, num_items)` float32.
            block_rows: rows per block; at most `block_rows × num_items` scores exist at a time.

        Yields:
            `(≤ block_rows, num_items)` float32, in the order of the rows.

        Raises:
            ValueError: the contexts have another number of items.
        """

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the arrays by name and the JSON-able manifest that `Recipe.restore` needs."""


@runtime_checkable
class Teacher(FittedModel, Protocol):
    """A model that ADER can herd exemplars with; its recipe obeys `TrainingRows.teacher`."""

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Compute the inner products of the rows' representations, each scaled to length 1.

        The rows are `(n, num_items)` float32, the products `(n, n)`, symmetric and positive
        semi-definite.
        """


class Recipe(Protocol):
    """A model that is still to be fitted: its name and settings."""

    @property
    def name(self) -> str:
        """Name on the command line, e.g. `infinite-ae`."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """Settings as they are recorded with a run."""

    @property
    def starts_warm(self) -> bool:
        """True if `fit` reads `FitOptions.previous`; the loop then keeps the last model."""

    @property
    def can_teach(self) -> bool:
        """True if fitted models are `Teacher`s and `fit` obeys `TrainingRows.teacher`.

        A class without it has none of both.
        """

    @property
    def draws_at_random(self) -> bool:
        """True if another `FitOptions.seed` may give another model on the same rows.

        The holdout that chooses a setting counts; a class without it is taken to draw.
        """

    def fit(self, rows: TrainingRows, options: FitOptions) -> FittedModel:
        """Choose by validation on a holdout of the real rows, then fit on all rows."""

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedModel:
        """Choose by validation on a given holdout, then fit on `rows`.

        Args:
            holdout: training rows and targets of the validation.
            rows: training rows of the final fit; `holdout.training` itself where the split is
                fixed, so that the best model of the validation is the result.
            options: no row cap is applied.

        Raises:
            UserError: the fit needs more memory than the limit.
        """

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedModel:
        """Restore the model that `FittedModel.to_arrays` was called on, or raise a `UserError`."""


def check_memory(model: str, needed: int, limit: int | None, purpose: str, remedy: str) -> None:
    """Refuse a fit that takes more bytes than the limit, before anything is allocated.

    The message gives their purpose, and the remedy apart from raising the limit.

    Raises:
        MemoryLimitExceeded: the fit needs more than the limit.
    """
    if limit is not None and needed > limit:
        raise MemoryLimitExceeded(
            f"{model} needs {needed / 2**30:.1f} GiB for {purpose}, over the memory limit of "
            f"{limit / 2**30:.1f} GiB; raise --memory-limit, or {remedy}"
        )


def cap_rows(rows: TrainingRows, max_rows: int | None, seed: int) -> TrainingRows:
    """Keep the most recent rows, drawing by seed among those of the oldest period that is kept.

    Replayed rows are older than all others and would be dropped first: half of the places are
    theirs, and more where there are few real rows. At most `max_rows` ≥ 1 rows stay as they are.
    """
    if max_rows is None or rows.num_rows <= max_rows:
        return rows
    keys = np.random.default_rng(seed).random(rows.num_rows)
    newest_first = np.lexsort((keys, -rows.last_period.astype(np.int64)))
    is_replayed = rows.replayed[newest_first]
    replayed, real = newest_first[is_replayed], newest_first[~is_replayed]
    replayed = replayed[: max(max_rows // 2, max_rows - len(real))]
    kept = np.concatenate([replayed, real[: max_rows - len(replayed)]])
    return rows.take(np.sort(kept))
