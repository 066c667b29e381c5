"""ADER's memory: rows of real users herded after each period, with the last model as teacher.

Mi, Lin & Faltings, RecSys 2020. A row is a user in a period, its group the item of the user's last
event in it (design note 6): the original's rows are session prefixes grouped by their label.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from perennial.memory.base import Memory, replayed_rows, widen
from perennial.memory.budget import parse_budget
from perennial.models.base import FittedModel, Teacher, TrainingRows
from perennial.storage.base import Progress, derive_seed, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import csr_from_arrays, csr_to_arrays
from perennial.stream.history import History

_CHUNK = 1024
"""Rows whose similarities are computed at a time, in whole groups."""

Similarity = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Function from row numbers `(n,)` to `(n, n)` inner products of unit representations."""


@dataclass(frozen=True)
class ExemplarMemory(Memory):
    """Exemplars carried over the periods.

    Attributes:
        budget: M, the most rows that are kept, or bytes such as `256KiB`.
        exemplars: chosen in the last update, among its period's rows and the exemplars before.
        teacher: model fitted at that period; `None` before the first update and after `restore`.
    """

    budget: int | str
    exemplars: "Exemplars" = dataclasses.field(default_factory=lambda: Exemplars.none())
    teacher: FittedModel | None = None

    reach = 1
    needs_model = True
    needs_teacher = True

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Return the exemplars with their teacher, each of weight 1."""
        kept = self.exemplars
        if not len(kept.groups) or self.teacher is None:
            return None
        return replayed_rows(widen(kept.rows, num_items), 1.0, kept.periods, self.teacher)

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> "ExemplarMemory":
        """Herd among the users of the period and the exemplars so far; each model has its own."""
        if not isinstance(model, Teacher):
            raise UserError(
                "strategy 'ader' needs a model with a similarity of users; "
                "choose infinite-ae or mvae"
            )
        progress(f"herding exemplars of period {history.period}")
        candidates = self._candidates(history)
        draws = seed if chain_seed is None else chain_seed
        generator = np.random.default_rng(derive_seed(draws, history.period, "exemplars"))
        budget, rows = parse_budget(self.budget), candidates.rows
        chosen = herd_groups(
            candidates.groups,
            budget.rows_of_mean(rows.shape[0], rows.nnz),
            lambda chosen: model.similarity(rows[chosen]),
            generator,
        )
        if budget.in_bytes:
            # What does not fit is left out of any group alike.
            chosen = generator.permutation(chosen)
        (count,) = budget.share([np.cumsum(np.diff(rows.indptr)[chosen])])
        exemplars = candidates.take(np.sort(chosen[:count]))
        return dataclasses.replace(self, exemplars=exemplars, teacher=model)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the exemplars."""
        rows = self.exemplars.rows
        return {
            **csr_to_arrays(rows, binary=True),
            "shape": np.array(rows.shape, dtype=np.int32),
            "groups": self.exemplars.groups,
            "periods": self.exemplars.periods,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "ExemplarMemory":
        """Return the memory with stored exemplars; `update` gives it a teacher."""
        try:
            num_rows, num_items = (int(side) for side in arrays["shape"])
            rows = csr_from_arrays(arrays, num_items, binary=True)
            groups = np.asarray(arrays["groups"], dtype=np.int64)
            periods = np.asarray(arrays["periods"], dtype=np.int32)
            if not len(groups) == len(periods) == rows.shape[0] == num_rows:
                raise ValueError("there is not one group and period for each row")
            if parse_budget(self.budget).share([rows.indptr[1:].astype(np.int64)]) != (num_rows,):
                raise ValueError("there are more than the budget holds")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the stored exemplars are damaged ({error}); replay with --fresh"
            ) from None
        return ExemplarMemory(self.budget, Exemplars(rows, groups, periods))

    def _candidates(self, history: History) -> "Exemplars":
        """Return the rows of the period, then the exemplars so far."""
        new, old = history.rows(first=history.period), self.exemplars
        stacked = vstack(
            [new.interactions, widen(old.rows, new.interactions.shape[1])], format="csr"
        )
        return Exemplars(
            rows=csr_array(stacked, dtype=np.float32),
            groups=np.concatenate([history.last_items().astype(np.int64), old.groups]),
            periods=np.concatenate([new.last_period, old.periods]),
        )


@dataclass(frozen=True)
class Exemplars:
    """Rows chosen as exemplars.

    Attributes:
        rows: `(n, num_items)` float32 binary.
        groups: `(n,)` int64, item of the last event of each row.
        periods: `(n,)` int32, period of each row.
    """

    rows: csr_array
    groups: NDArray[np.int64]
    periods: NDArray[np.int32]

    @classmethod
    def none(cls) -> "Exemplars":
        """Return no exemplars."""
        empty = csr_array(np.zeros((0, 0), dtype=np.float32))
        return cls(empty, np.zeros(0, np.int64), np.zeros(0, np.int32))

    def take(self, chosen: NDArray[np.int64]) -> "Exemplars":
        """Return the rows with these numbers, `(n,)`."""
        return Exemplars(self.rows[chosen], self.groups[chosen], self.periods[chosen])


@dataclass(frozen=True)
class TeacherMemory(Memory):
    """Rows of any memory, replayed with the scores of the last model as targets.

    A synthetic user has a few items and leaves open all others; as a target, each zero counts as a
    dislike. The model that was fitted last has a score for every item, and is distilled as ADER
    distils it on exemplars.

    Attributes:
        rows: the wrapped memory. Its next state must follow from the log alone, as under the policy
            `whole`, since only the log is there after a resume.
        teacher: model fitted at the period of the last update; `None` before the first, and after
            `restore`.
    """

    rows: Memory
    teacher: FittedModel | None = None

    reach = 1
    needs_model = True
    needs_teacher = True

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Return the wrapped memory's rows with their teacher."""
        if self.teacher is None:
            return None
        replayed = self.rows.replay_rows(num_items)
        return None if replayed is None else dataclasses.replace(replayed, teacher=self.teacher)

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> "TeacherMemory":
        """Update the wrapped memory by the run's seed, so that all models share its summaries."""
        if not isinstance(model, Teacher):
            raise UserError(
                "replaying with a teacher needs a model that learns from its scores; "
                "choose infinite-ae or mvae"
            )
        return TeacherMemory(self.rows.update(history, None, seed, progress), model)


def herd(gram: NDArray[np.float64], quota: int) -> NDArray[np.int64]:
    """Choose `quota` ≤ n rows whose mean stays close to the mean of all.

    With representations D of length 1 and mean μ: w = μ; repeat: j = argmax ⟨w, D_j⟩, which is
    chosen if it is new, and w += μ − D_j; until the quota is met, or for 1.1 × quota iterations.
    Only inner products, `gram` `(n, n)`, are needed, so a kernel's features can be used (kernel
    herding).

    Returns:
        `(≤ quota,)` row numbers in the order they were chosen.
    """
    toward_mean = gram.mean(axis=1)
    attraction = toward_mean.copy()
    chosen: list[int] = []
    for _ in range(math.ceil(1.1 * quota)):
        if len(chosen) == quota:
            break
        best = int(np.argmax(attraction))
        if best not in chosen:
            chosen.append(best)
        attraction += toward_mean - gram[best]
    return np.array(chosen, dtype=np.int64)


def draw_quotas(
    counts: NDArray[np.int64], budget: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Share a budget among groups: one multinomial draw by size, at most what each group has.

    The groups have counts `(g,)` > 0 of candidates; the budget M is at least 1.

    Returns:
        `(g,)`; the sum is at most M, and less where a group is drawn more often than it has rows.
    """
    drawn = generator.multinomial(budget, counts / counts.sum())
    quotas: NDArray[np.int64] = np.minimum(drawn, counts).astype(np.int64)
    return quotas


def herd_groups(
    groups: NDArray[np.int64], budget: int, similarity: Similarity, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Choose exemplars among candidates, group by group: `(≤ budget,)` ascending numbers of them.

    Groups are `(n,)`, one for each candidate; `similarity` takes numbers of candidates.
    """
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    _, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    quotas = draw_quotas(counts.astype(np.int64), budget, generator)
    order = np.argsort(group_of, kind="stable")
    members = np.split(order, np.cumsum(counts)[:-1])
    chosen = [np.zeros(0, dtype=np.int64)]
    for first, last in _chunks(counts):
        wanted = [place for place in range(first, last) if quotas[place]]
        chosen.extend(members[place] for place in wanted if counts[place] == 1)
        herds = [place for place in wanted if counts[place] > 1]
        if not herds:
            continue
        gram = similarity(np.concatenate([members[place] for place in herds]))
        start = 0
        for place in herds:
            stop = start + int(counts[place])
            kept = herd(gram[start:stop, start:stop], int(quotas[place]))
            chosen.append(members[place][kept])
            start = stop
    return np.sort(np.concatenate(chosen))


def _chunks(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of groups with at most `_CHUNK` rows; a larger group is a range of its own."""
    first, rows = 0, 0
    for place, count in enumerate(counts.tolist()):
        if rows and rows + count > _CHUNK:
            yield first, place
            first, rows = place, 0
        rows += count
    yield first, len(counts)
