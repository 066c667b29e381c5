"""ADER's memory: rows of real users herded after each period, and the model that saw them last.

Mi, Lin & Faltings, RecSys 2020. A row is a user in a period, its group the item of the user's last
event in it (design note 6): the original's rows are session prefixes grouped by their label.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from memory.herding import herd_groups
from memory.protocol import Say, say_nothing
from memory.sampled_memory import widen
from models.protocol import FittedModel, Teacher, TrainingRows
from storage.errors import UserError
from stream.history import History
from stream.seeds import derive_seed


@dataclass(frozen=True)
class Exemplars:
    """Rows that were chosen.

    Attributes:
        rows: `(n, num_items)` float32 binary.
        groups: `(n,)` int64, the item of the last event of each.
        periods: `(n,)` int32, whence each comes.
    """

    rows: csr_array
    groups: NDArray[np.int64]
    periods: NDArray[np.int32]

    @classmethod
    def none(cls) -> "Exemplars":
        """Before the first period."""
        empty = csr_array((0, 0), dtype=np.float32)
        return cls(empty, np.zeros(0, np.int64), np.zeros(0, np.int32))

    def take(self, chosen: NDArray[np.int64]) -> "Exemplars":
        """Only the rows of these numbers."""
        return Exemplars(self.rows[chosen], self.groups[chosen], self.periods[chosen])


@dataclass(frozen=True)
class ExemplarMemory:
    """Exemplars carried over the periods.

    Attributes:
        budget: M, the most rows that are kept.
        exemplars: chosen after the last period that was learnt, among its rows and those before.
        teacher: the model fitted at that period; `None` before the first, and where the memory was
            read back.
    """

    budget: int
    exemplars: Exemplars = dataclasses.field(default_factory=Exemplars.none)
    teacher: FittedModel | None = None

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """The exemplars with their teacher, each of weight 1."""
        kept = self.exemplars
        if not len(kept.groups) or self.teacher is None:
            return None
        return TrainingRows(
            interactions=widen(kept.rows, num_items),
            weights=np.ones(len(kept.groups)),
            replayed=np.ones(len(kept.groups), dtype=np.bool_),
            last_period=kept.periods,
            teacher=self.teacher,
        )

    def learn(
        self,
        history: History,
        model: FittedModel,
        seed: int,
        say: Say = say_nothing,
        *,
        shared_seed: int | None = None,
    ) -> "ExemplarMemory":
        """Herd among the users of the period and the exemplars so far; each model has its own.

        Raises:
            UserError: the model cannot say how alike rows are.
        """
        if not isinstance(model, Teacher):
            raise UserError(
                "strategy 'ader' needs a model that can be asked how alike users are; "
                "choose infinite-ae or mvae"
            )
        say(f"herding exemplars of period {history.period}")
        candidates = self._candidates(history)
        chosen = herd_groups(
            candidates.groups,
            self.budget,
            lambda numbers: model.similarity(candidates.rows[numbers]),
            np.random.default_rng(derive_seed(seed, history.period, "exemplars")),
        )
        return dataclasses.replace(self, exemplars=candidates.take(chosen), teacher=model)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The exemplars."""
        rows = self.exemplars.rows
        return {
            "offsets": rows.indptr.astype(np.int32),
            "items": rows.indices.astype(np.int32),
            "shape": np.array(rows.shape, dtype=np.int32),
            "groups": self.exemplars.groups,
            "periods": self.exemplars.periods,
        }

    def restored(self, arrays: Mapping[str, NDArray[Any]]) -> "ExemplarMemory":
        """The exemplars again.

        Raises:
            UserError: the arrays are damaged.
        """
        try:
            items = np.asarray(arrays["items"], dtype=np.int32)
            num_rows, num_items = (int(side) for side in arrays["shape"])
            rows = csr_array(
                (np.ones(len(items), np.float32), items, np.asarray(arrays["offsets"], np.int32)),
                shape=(num_rows, num_items),
            )
            rows.check_format(full_check=True)
            groups = np.asarray(arrays["groups"], dtype=np.int64)
            periods = np.asarray(arrays["periods"], dtype=np.int32)
            if not len(groups) == len(periods) == num_rows <= self.budget:
                raise ValueError("there is not one group and period for each row")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the stored exemplars are damaged ({error}); replay with --fresh"
            ) from None
        return ExemplarMemory(self.budget, Exemplars(rows, groups, periods))

    def _candidates(self, history: History) -> Exemplars:
        """The rows of the period, then the exemplars before."""
        new, old = history.rows(first=history.period), self.exemplars
        stacked = vstack(
            [new.interactions, widen(old.rows, new.interactions.shape[1])], format="csr"
        )
        return Exemplars(
            rows=csr_array(stacked, dtype=np.float32),
            groups=np.concatenate([history.last_items().astype(np.int64), old.groups]),
            periods=np.concatenate([new.last_period, old.periods]),
        )
