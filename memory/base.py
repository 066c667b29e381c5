"""The interface of memories, and operations on the rows that they replay."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from perennial.models.base import FittedModel, TrainingRows
from perennial.storage.base import Progress, ignore_progress
from perennial.stream.history import History


class Memory(Protocol):
    """The memory of the periods before t of a strategy; immutable.

    Subclasses write `reach`, `replay_rows` and `update`, and inherit the rest unless they need it.
    When a run resumes, a memory is rebuilt by updates with the last `reach` periods, after
    `restore` if it `is_stored`. A memory whose update takes long keeps its result in the store, so
    that the same update again only reads it.
    """

    @property
    def reach(self) -> int | None:
        """Number of last periods whose updates rebuild the memory; `None`: all of them."""

    @property
    def needs_model(self) -> bool:
        """Return whether `update` reads the model fitted at the period."""
        return False

    @property
    def needs_teacher(self) -> bool:
        """Return whether that model must be a `Teacher`: its scores are targets of the next fit."""
        return False

    @property
    def is_stored(self) -> bool:
        """Return whether each fit stores `state`: the log alone does not give the memory back."""
        return self.needs_model

    def first_period(self, last: int) -> int:
        """Return the first period that the memory stands for, after its update with `last`."""
        return 1

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Rows to train on next to those of period t, all marked `replayed`.

        Args:
            num_items: d_t, the width of the rows.

        Returns:
            At most the budget's rows or bytes, or `None` while there are none.
        """

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> Self:
        """Return the memory after period `history.period`.

        Args:
            history: the log up to and including that period.
            model: fitted at that period with what this memory replays; `None` unless `needs_model`.
            seed: of the run. Draws that derive from it and the period are shared by all strategies
                and models, so that their common parts are made once.
            progress: called with the progress of the update.
            chain_seed: of the chain of fits, for draws that depend on its model; `seed` by default.

        Raises:
            UserError: the model is of a kind that cannot teach.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `restore` needs, without the model."""
        return {}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the memory with these settings whose `state` was stored, ready for `update`.

        Raises:
            UserError: the arrays are damaged.
        """
        return self


class NoMemory(Memory):
    """The empty memory of strategies that read all they need from the log."""

    reach = 0

    def replay_rows(self, num_items: int) -> None:
        """Return `None`: nothing is replayed."""
        return

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> Self:
        """Return the memory itself."""
        return self


def replayed_rows(
    interactions: csr_array,
    weight: float,
    periods: NDArray[np.int32],
    teacher: FittedModel | None = None,
) -> TrainingRows:
    """Training rows of a memory, `(n, num_items)` float32, all of one weight.

    The periods that the rows come from are `(n,)` int32. The scores of a teacher are the rows'
    targets.
    """
    num_rows = len(periods)
    return TrainingRows(
        interactions=interactions,
        weights=np.full(num_rows, weight, dtype=np.float64),
        replayed=np.ones(num_rows, dtype=np.bool_),
        last_period=periods,
        teacher=teacher,
    )


def join_rows(first: TrainingRows, second: TrainingRows) -> TrainingRows:
    """Concatenate rows of the same width."""
    stacked = vstack([first.interactions, second.interactions], format="csr")
    return TrainingRows(
        interactions=csr_array(stacked, dtype=np.float32),
        weights=np.concatenate([first.weights, second.weights]),
        replayed=np.concatenate([first.replayed, second.replayed]),
        last_period=np.concatenate([first.last_period, second.last_period]),
        teacher=first.teacher or second.teacher,
    )


def widen(rows: csr_array, num_items: int) -> csr_array:
    """Return `(n, d)` rows as `(n, num_items)`, `num_items` ≥ d: an item's index never changes."""
    if rows.shape[1] > num_items:
        raise ValueError(f"{rows.shape[1]} items cannot be narrowed to {num_items}")
    return csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], num_items))
