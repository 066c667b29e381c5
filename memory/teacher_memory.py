"""Rows of any memory, replayed with the scores of the last model as targets.

A synthetic user has a few items and says little about all others; as a target, each zero counts as
a dislike. The model that was fitted last has a score for every item, and is distilled as ADER
distils it on exemplars (Mi, Lin & Faltings, RecSys 2020).
"""

import dataclasses
from dataclasses import dataclass

from perennial.memory.base import Memory
from perennial.models.base import FittedModel, Teacher, TrainingRows
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.stream.history import History


@dataclass(frozen=True)
class TeacherMemory(Memory):
    """A memory and the model that is the teacher of its rows.

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
