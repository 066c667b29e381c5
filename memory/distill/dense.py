"""A distillation under way: what the loop of `loop` asks of it, and the usual one."""

from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import numpy as np
from jax import Array

from perennial.memory.distill.checkpoint import load_progress, save_progress
from perennial.memory.distill.export import stored_form
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.problem import DistillationProblem
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, outer_step
from perennial.memory.distill.validation import BestSupport
from perennial.models.mesh import device_mesh, put_on_each


class Optimisation(Protocol):
    """Parameters and optimiser of a distillation, from step to step."""

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Go on from a checkpoint, if there is one of this task.

        Returns:
            The best support so far, steps made, validations since the best one.
        """
        ...

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write all that the next steps follow from; the file is replaced as a whole."""
        ...

    def meet(self, step: int) -> None:
        """Take the users that are drawn from after `step` steps."""
        ...

    def advance(self) -> None:
        """Make a step."""
        ...

    def judge(self, step: int) -> BestSupport:
        """The support as it would be stored after `step` steps, and what it is worth."""
        ...


class DenseOptimisation:
    """All on the default device or the mesh, in arrays as wide as the items that occur.

    Args:
        task: what to distil.
    """

    def __init__(self, task: DistillationProblem) -> None:
        self._task = task
        self._mesh = device_mesh()
        self._state = put_on_each(task.start(), self._mesh)
        self._users: DeviceUsers | None = None
        self._loss: Array | None = None

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """As `Optimisation` has it."""
        found = load_progress(path, self._task.fingerprint(), self._state)
        if found is None:
            return None
        state, best, step, worse = found
        self._state = put_on_each(state, self._mesh)
        return best, step, worse

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """As `Optimisation` has it."""
        save_progress(path, self._task.fingerprint(), self._state, best, step, worse)

    def meet(self, step: int) -> None:
        """Send real users to the device, unless they are all there."""
        if self._users is None or not self._task.all_fit:
            self._users = put_on_each(self._task.users(step), self._mesh)

    def advance(self) -> None:
        """One compiled step."""
        assert self._users is not None  # noqa: S101 - they are met first
        self._state, self._loss = outer_step(
            self._state, self._users, self._task.settings, self._mesh
        )

    def judge(self, step: int) -> BestSupport:
        """As `Optimisation` has it."""
        key = jax.random.fold_in(self._state.key, 1)
        support = _stored(self._state.parameters, key, self._task.settings)
        validation, reg = self._task.judge.judge(support)
        return BestSupport(
            support=np.asarray(support),
            step=step,
            validation=validation,
            reg=reg,
            loss=float("nan") if self._loss is None else float(self._loss),
        )


@partial(jax.jit, static_argnames="settings")
def _stored(parameters: Array, key: Array, settings: DistillSettings) -> Array:
    """The support that parameters stand for, as it would be stored."""
    support = PARAMETRISATIONS[settings.method].support(parameters, key, settings)
    return stored_form(support, settings.max_items, settings.export)
