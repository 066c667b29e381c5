"""The seam between models and everything that trains or asks them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.log.matrices import UserRows
from perennial.storage.progress import Progress, ignore_progress

Json = Any
"""What `json.dumps` takes."""


@dataclass(frozen=True)
class TrainingRows:
    """The rows a model is fitted on.

    Attributes:
        interactions: `(num_rows, num_items)` float32, values in [0, 1]; binary for real users.
            `num_items` is d of the kernel: the items seen in periods ≤ t.
        weights: `(num_rows,)` float64 > 0, how much each row counts.
        replayed: `(num_rows,)` bool, rows that come from a memory: never held out for validation.
        last_period: `(num_rows,)` int32, the period of the row's last event; a row cap keeps the
            most recent of the real rows, and of the replayed ones.
        teacher: an earlier model whose answers the replayed rows are fitted to instead of to
            themselves, over the items that it knows; all items of replayed rows are among these.
    """

    interactions: csr_array
    weights: NDArray[np.float64]
    replayed: NDArray[np.bool_]
    last_period: NDArray[np.int32]
    teacher: "FittedModel | None" = None

    @classmethod
    def of_users(cls, rows: UserRows) -> "TrainingRows":
        """Real users, each with weight 1."""
        num_rows = len(rows.users)
        return cls(
            interactions=rows.interactions,
            weights=np.ones(num_rows),
            replayed=np.zeros(num_rows, dtype=np.bool_),
            last_period=rows.last_period,
        )

    def take(self, chosen: NDArray[np.integer[Any]]) -> "TrainingRows":
        """Only the rows of these numbers, in that order."""
        return TrainingRows(
            interactions=self.interactions[chosen],
            weights=self.weights[chosen],
            replayed=self.replayed[chosen],
            last_period=self.last_period[chosen],
            teacher=self.teacher,
        )

    @property
    def num_rows(self) -> int:
        """Rows of the matrix."""
        return int(self.interactions.shape[0])

    @property
    def num_items(self) -> int:
        """Columns of the matrix."""
        return int(self.interactions.shape[1])


@dataclass(frozen=True)
class FitOptions:
    """How to fit, apart from what the model is.

    Attributes:
        seed: every random draw of the fit derives from it.
        memory_limit: bytes the fit may allocate; `None` means no limit.
        max_rows: the row cap to take when the rows do not fit `memory_limit`, or `None` for the
            largest number that fits. A cap below the number of rows is always applied.
        previous: the model of the period before, for a warm start.
        progress: called with a few words as the fit goes on.
    """

    seed: int
    memory_limit: int | None = None
    max_rows: int | None = None
    previous: "FittedModel | None" = None
    progress: Progress = field(default=ignore_progress)


class FittedModel(Protocol):
    """A model that answers."""

    @property
    def num_items(self) -> int:
        """Items the model knows: the prefix 0..num_items−1 of the vocabulary."""
        ...

    @property
    def report(self) -> Mapping[str, Json]:
        """What the fit chose and used: `reg`, `rows_used`, `rows_given`, `epochs`, ..."""
        ...

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Score all items for each context row.

        Args:
            contexts: `(n, num_items)` float32.
            block_rows: rows per block; at most `block_rows × num_items` scores exist at a time.

        Yields:
            `(≤ block_rows, num_items)` float32, in the order of the rows.
        """
        ...

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """What `Recipe.restore` needs: named arrays and a JSON-able manifest."""
        ...


@runtime_checkable
class Teacher(FittedModel, Protocol):
    """A model that ADER can herd exemplars with; its recipe obeys `TrainingRows.teacher`."""

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Inner products of the rows' representations, each scaled to length 1.

        Args:
            rows: `(n, num_items)` float32.

        Returns:
            `(n, n)`, symmetric and positive semi-definite.
        """
        ...


class Recipe(Protocol):
    """A model that is still to be fitted: its name and settings."""

    @property
    def name(self) -> str:
        """As on the command line, e.g. `infinite-ae`."""
        ...

    @property
    def settings(self) -> Mapping[str, Json]:
        """The settings as they are recorded with a run."""
        ...

    @property
    def starts_warm(self) -> bool:
        """Whether `fit` reads `FitOptions.previous`; the loop keeps the last model if so."""
        ...

    def fit(self, rows: TrainingRows, options: FitOptions) -> FittedModel:
        """Choose what validation chooses on a hold-out of the real rows, then fit on all rows."""
        ...

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedModel:
        """Make the model again that `FittedModel.to_arrays` came from."""
        ...


def cap_rows(rows: TrainingRows, max_rows: int | None, seed: int) -> TrainingRows:
    """Keep the most recent rows, drawing by seed among those of the oldest period that is kept.

    What a memory replays is older than all else, and would be the first to go: it has a half of
    the places, and more where real rows leave some.

    Args:
        rows: what was given.
        max_rows: how many to keep at most, ≥ 1; `None` keeps all.
        seed: of the draw.

    Returns:
        `rows` itself if nothing is dropped, else the kept ones in the order they stood in.
    """
    if max_rows is None or rows.num_rows <= max_rows:
        return rows
    luck = np.random.default_rng(seed).random(rows.num_rows)
    newest_first = np.lexsort((luck, -rows.last_period.astype(np.int64)))
    is_replayed = rows.replayed[newest_first]
    replayed, real = newest_first[is_replayed], newest_first[~is_replayed]
    replayed = replayed[: max(max_rows // 2, max_rows - len(real))]
    kept = np.concatenate([replayed, real[: max_rows - len(replayed)]])
    return rows.take(np.sort(kept))
