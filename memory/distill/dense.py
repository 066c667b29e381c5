"""The interface of a distillation's optimisation, and the usual one in dense arrays."""

from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from perennial.memory.distill.checkpoint import load_progress, save_progress
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.problem import DistillationProblem
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, outer_step
from perennial.memory.distill.top_k import keep_largest
from perennial.memory.distill.validation import BestSupport
from perennial.models.mesh import device_mesh, put_on_each


class Optimisation(Protocol):
    """Parameters and optimiser state of a distillation."""

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Resume from a checkpoint of this problem, if there is one.

        Returns:
            The best support so far, steps made, validations since the best one.
        """
        ...

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write all that the next steps follow from; the file is replaced as a whole."""
        ...

    def load_users(self, step: int) -> None:
        """Load the users that batches are drawn from after `step` steps."""
        ...

    def step(self) -> None:
        """Make an outer step."""
        ...

    def validate(self, step: int) -> BestSupport:
        """Return the support as it would be stored after `step` steps, with its validation."""
        ...


class DenseOptimisation:
    """Arrays on the default device or the mesh, as wide as the number of items that occur."""

    def __init__(self, problem: DistillationProblem) -> None:
        self._problem = problem
        self._mesh = device_mesh()
        self._state = put_on_each(problem.initial_state(), self._mesh)
        self._users: DeviceUsers | None = None
        self._loss: Array | None = None

    def load(self, path: Path) -> tuple[BestSupport, int, int] | None:
        """Resume from a checkpoint; see `Optimisation`."""
        checkpoint = load_progress(path, self._problem.fingerprint(), self._state)
        if checkpoint is None:
            return None
        state, best, step, worse = checkpoint
        self._state = put_on_each(state, self._mesh)
        return best, step, worse

    def save(self, path: Path, best: BestSupport, step: int, worse: int) -> None:
        """Write a checkpoint; see `Optimisation`."""
        save_progress(path, self._problem.fingerprint(), self._state, best, step, worse)

    def load_users(self, step: int) -> None:
        """Send real users to the device, unless all are there."""
        if self._users is None or self._problem.resident < self._problem.num_users:
            self._users = put_on_each(self._problem.draw_users(step), self._mesh)

    def step(self) -> None:
        """Make a compiled step."""
        assert self._users is not None  # noqa: S101 - `load_users` comes first
        self._state, self._loss = outer_step(
            self._state, self._users, self._problem.settings, self._mesh
        )

    def validate(self, step: int) -> BestSupport:
        """Validate the support as it would be stored; see `Optimisation`."""
        key = jax.random.fold_in(self._state.key, 1)
        support = _stored(self._state.parameters, key, self._problem.settings)
        validation, reg = self._problem.validator.validate(support)
        return BestSupport(
            support=np.asarray(support),
            step=step,
            validation=validation,
            reg=reg,
            loss=float("nan") if self._loss is None else float(self._loss),
        )


@partial(jax.jit, static_argnames="settings")
def _stored(parameters: Array, key: Array, settings: DistillSettings) -> Array:
    """Return the support of the parameters as it would be stored, `(μ, i)`."""
    support = PARAMETRISATIONS[settings.method].support(parameters, key, settings)
    kept = jnp.clip(keep_largest(support, settings.max_items), 0, 1)
    return (kept > 0).astype(kept.dtype) if settings.export == "hard" else kept
