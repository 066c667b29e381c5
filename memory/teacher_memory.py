"""Rows of any memory, replayed with the last model's answers to them instead of with themselves.

A summary of a few items per row says little of all the other items, and as targets its zeros count
as dislikes. The model that was fitted last has an answer for every item: it is asked for them, as
ADER asks it about its exemplars (Mi, Lin & Faltings, RecSys 2020).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from perennial.memory.base import Memory, Say, say_nothing
from perennial.models.base import FittedModel, Teacher, TrainingRows
from perennial.storage.errors import UserError
from perennial.stream.history import History


@dataclass(frozen=True)
class TeacherMemory:
    """A memory and the model that answers for its rows.

    Attributes:
        rows: the memory. Its next state must follow from the log alone, as under the policy
            `whole`, since only the log is there after a resume.
        teacher: the model fitted at the period that was absorbed last; `None` before the first,
            and where the memory was read back.
    """

    rows: Memory
    teacher: FittedModel | None = None

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """The memory's rows with their teacher."""
        if self.teacher is None:
            return None
        replayed = self.rows.replay_rows(num_items)
        return None if replayed is None else dataclasses.replace(replayed, teacher=self.teacher)

    def learn(
        self,
        history: History,
        model: FittedModel,
        seed: int,
        say: Say = say_nothing,
        *,
        shared_seed: int | None = None,
    ) -> "TeacherMemory":
        """Absorb the period with the shared seed, so that all models pay for it once.

        Raises:
            UserError: the model's recipe does not learn from answers.
        """
        if not isinstance(model, Teacher):
            raise UserError(
                "replaying a model's answers needs a model that learns from them; "
                "choose infinite-ae or mvae"
            )
        absorbed = self.rows.absorb(history, seed if shared_seed is None else shared_seed, say)
        return TeacherMemory(absorbed, model)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Nothing: all follows from the log and the model."""
        return {}

    def restored(self, arrays: Mapping[str, NDArray[Any]]) -> "TeacherMemory":
        """The memory as it was empty; it can learn, not yet replay."""
        return TeacherMemory(self.rows)
