"""The problem that a distillation solves: users, items that occur, targets, validation."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, StepState, initial_state
from perennial.memory.distill.targets import LeaveOneOutTargets
from perennial.memory.distill.validation import SupportValidator
from perennial.models.base import Holdout
from perennial.models.mesh import next_power, round_up
from perennial.storage.base import derive_seed

RESIDENT_CELLS = 2**26
"""Cells of real users' rows kept on the device, and as many of their targets: 256 MiB each."""

WIDEST = 2**17
"""Largest number of columns that is not split into item blocks on an accelerator."""

WIDEST_ON_CPU = 12_288
"""Largest number on a CPU, plus half a column for each user; see `benchmarks/RESULTS.md`.

Item blocks combine the rows of all users, dense arrays only those of a batch.
"""

_MOST_COUNTED = 2**15
"""Largest number of users that raises the bound; more were not measured."""

_WIDTH_STEP = 512
"""Columns are padded to a multiple of this, so that few widths are compiled."""


@dataclass(frozen=True)
class DistillationProblem:
    """A distillation reduced to the items that occur, and what it draws.

    Attributes:
        holdout: the users to distil, and the held-out interactions.
        items: `(n,)` int64 ascending, the items that occur.
        narrow: `(users, n)` float32, the rows over these items.
        width: number of columns with padding.
        in_blocks: whether the optimisation works in item blocks.
    """

    settings: DistillSettings
    seed: int
    holdout: Holdout
    items: NDArray[np.int64]
    narrow: csr_array
    width: int
    validator: SupportValidator
    targets: LeaveOneOutTargets
    in_blocks: bool

    @classmethod
    def of(
        cls, holdout: Holdout, settings: DistillSettings, seed: int, in_blocks: bool | None = None
    ) -> "DistillationProblem":
        """Reduce a holdout to the items that occur, and fit the model of the targets.

        `in_blocks` is chosen by `takes_blocks` where it is `None`.
        """
        training = holdout.training
        occurring = np.union1d(training.interactions.indices, holdout.targets.indices)
        items = occurring.astype(np.int64)
        narrow = training.interactions[:, items]
        narrow_rows = dataclasses.replace(training, interactions=narrow)
        small = Holdout(narrow_rows, holdout.users, holdout.targets[:, items])
        validator = SupportValidator(
            small, training.num_items, settings.regs, derive_seed(seed, "ties")
        )
        targets = LeaveOneOutTargets(
            narrow_rows,
            settings.guide_reg,
            settings.guide,
            training.num_items,
            derive_seed(seed, "guide"),
        )
        width = padded_width(len(items))
        if in_blocks is None:
            in_blocks = takes_blocks(width, training.num_rows, settings)
        return cls(settings, seed, holdout, items, narrow, width, validator, targets, in_blocks)

    @property
    def num_users(self) -> int:
        """Number of real users."""
        return self.holdout.training.num_rows

    @property
    def num_synthetic_users(self) -> int:
        """μ, or a round number of users if there are fewer: few shapes are compiled."""
        if self.num_users >= self.settings.num_synthetic_users:
            return self.settings.num_synthetic_users
        return max(self.num_users // 64 * 64, min(self.num_users, 64))

    @property
    def batch(self) -> int:
        """Number of users in a step: `batch_size`, or a power of two if there are fewer users."""
        return min(self.settings.batch_size, next_power(self.num_users))

    @property
    def resident(self) -> int:
        """Number of users on the device at a time, a multiple of the batch."""
        fitting = max(1, RESIDENT_CELLS // self.width // self.batch)
        needed = -(-self.num_users // self.batch)
        return self.batch * min(fitting, needed)

    @property
    def device_bytes(self) -> int:
        """Bytes of parameters, two moments, gradient and support, and twice the resident users.

        In item blocks: of parameters, moment and gradient, which lie on the host.
        """
        if self.in_blocks:
            return 4 * self.width * 3 * self.num_synthetic_users
        return 4 * self.width * (5 * self.num_synthetic_users + 2 * self.resident)

    @cached_property
    def row_sum(self) -> float:
        """Mean row sum of the data."""
        return float(max(self.narrow.sum(axis=1).mean(), 1e-6))

    def fingerprint(self) -> str:
        """Return a hash of everything that the result follows from."""
        digest = hashlib.blake2b(digest_size=20)
        settings = dataclasses.asdict(self.settings)
        text = json.dumps([settings, self.seed, self.holdout.training.num_items])
        digest.update(text.encode())
        for matrix in (self.holdout.training.interactions, self.holdout.targets):
            for part in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def draw_users(self, step: int) -> DeviceUsers:
        """Draw the users that are resident from `step` on by seed, some twice to fill up."""
        generator = np.random.default_rng(derive_seed(self.seed, "resident", step))
        order = generator.permutation(self.num_users)
        drawn = np.resize(order, self.resident)
        is_item = np.arange(self.width) < len(self.items)
        return DeviceUsers(
            rows=self._on_device(self.narrow[drawn].toarray()),
            targets=self._on_device(self.targets.dense(drawn)),
            weights=jnp.asarray(self.holdout.training.weights[drawn], jnp.float32),
            is_item=jnp.asarray(is_item),
            num_items=jnp.float32(self.holdout.training.num_items),
            row_sum=jnp.float32(self.row_sum),
        )

    def initial_users(self) -> NDArray[np.int64]:
        """Draw the real users that the synthetic ones start from, `(μ,)`, by seed, none twice."""
        generator = np.random.default_rng(derive_seed(self.seed, "start"))
        weights = self.holdout.training.weights
        return generator.choice(
            self.num_users, self.num_synthetic_users, replace=False, p=weights / weights.sum()
        )

    def initial_state(self) -> StepState:
        """Return the state before the first step."""
        drawn = self.initial_users()
        rows = self._on_device(self.narrow[drawn].toarray())
        targets = self._on_device(self.targets.dense(drawn))
        method = PARAMETRISATIONS[self.settings.method]
        key = jax.random.key(derive_seed(self.seed, "steps") % 2**32)
        return initial_state(method.initialise(rows, targets, self.settings), self.settings, key)

    def _on_device(self, dense: NDArray[np.float32]) -> Array:
        padded = np.zeros((len(dense), self.width), dtype=np.float32)
        padded[:, : dense.shape[1]] = dense
        return jnp.asarray(padded)


def padded_width(width: int) -> int:
    """Return the number of columns with padding."""
    return round_up(width, _WIDTH_STEP)


def takes_blocks(width: int, num_users: int, settings: DistillSettings) -> bool:
    """Return whether a distillation of so many columns and users works in item blocks.

    The loss must follow from inner products, and each row must have few entries.
    """
    sparse = settings.method == "sparse" and settings.max_items is not None
    on_cpu = jax.default_backend() == "cpu"
    widest = WIDEST_ON_CPU + min(num_users, _MOST_COUNTED) // 2 if on_cpu else WIDEST
    return width > widest and sparse and settings.loss == "cosine"
