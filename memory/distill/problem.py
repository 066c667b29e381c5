"""What a distillation works on: the users, the columns that occur, the targets, the judge."""

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
from perennial.memory.distill.step import DeviceUsers, StepState, start_state
from perennial.memory.distill.targets import Guide
from perennial.memory.distill.validation import SupportValidator
from perennial.models.base import Holdout
from perennial.models.mesh import next_power, round_up
from perennial.stream.seeds import derive_seed

RESIDENT_CELLS = 2**26
"""Cells of real users' rows kept on the device, and as many of their targets: 256 MiB each."""

WIDEST = 2**17
"""More columns than these are worked on in item blocks beside an accelerator."""

WIDEST_ON_CPU = 12_288
"""The same without one, and half a column more for each user; see `benchmarks.item_blocks`.

Item blocks combine the rows of all users, whole rows those of a batch.
"""

_MOST_COUNTED = 2**15
"""Users that raise the bound; more were not measured."""

_WIDTH_STEP = 512
"""Columns are padded to a multiple of this, so that few widths are compiled."""


@dataclass(frozen=True)
class DistillationProblem:
    """What a distillation works on: the columns that occur, padded, and whom it draws.

    Attributes:
        settings: how.
        seed: of all draws.
        held: as given.
        items: `(n,)` int64 ascending, the items that occur.
        narrow: `(users, n)` the rows over these items.
        width: columns with padding.
        judge: of supports.
        guide: of targets.
        in_blocks: whether it is worked on in item blocks.
    """

    settings: DistillSettings
    seed: int
    held: Holdout
    items: NDArray[np.int64]
    narrow: csr_array
    width: int
    judge: SupportValidator
    guide: Guide
    in_blocks: bool

    @classmethod
    def of(
        cls, held: Holdout, settings: DistillSettings, seed: int, in_blocks: bool | None = None
    ) -> "DistillationProblem":
        """Reduce a hold-out to the items that occur, and fit the guide.

        Args:
            held: whom to distil, and who is judged by what.
            settings: how.
            seed: of all draws.
            in_blocks: whether to work in item blocks; by `takes_blocks` if `None`.
        """
        training = held.training
        asked = np.union1d(training.interactions.indices, held.targets.indices)
        items = asked.astype(np.int64)
        narrow = training.interactions[:, items]
        narrow_rows = dataclasses.replace(training, interactions=narrow)
        small = Holdout(narrow_rows, held.users, held.targets[:, items])
        judge = SupportValidator(
            small, training.num_items, settings.regs, derive_seed(seed, "ties")
        )
        guide = Guide(
            narrow_rows,
            settings.guide_reg,
            settings.guide,
            training.num_items,
            derive_seed(seed, "guide"),
        )
        width = padded_width(len(items))
        if in_blocks is None:
            in_blocks = takes_blocks(width, training.num_rows, settings)
        return cls(settings, seed, held, items, narrow, width, judge, guide, in_blocks)

    @property
    def num_users(self) -> int:
        """Real users."""
        return self.held.training.num_rows

    @property
    def num_synthetic_users(self) -> int:
        """μ, and where there are fewer users a round number of them: few shapes are compiled."""
        if self.num_users >= self.settings.num_synthetic_users:
            return self.settings.num_synthetic_users
        return max(self.num_users // 64 * 64, min(self.num_users, 64))

    @property
    def batch(self) -> int:
        """Users in a step: the batch asked for, or a power of two that all users fit in."""
        return min(self.settings.batch_size, next_power(self.num_users))

    @property
    def resident(self) -> int:
        """Users on the device at a time, a multiple of the batch."""
        fitting = max(1, RESIDENT_CELLS // self.width // self.batch)
        needed = -(-self.num_users // self.batch)
        return self.batch * min(fitting, needed)

    @property
    def device_bytes(self) -> int:
        """Parameters, two moments, gradient and support, and twice the resident users.

        In item blocks: parameters, moment and gradient, which are the host's.
        """
        if self.in_blocks:
            return 4 * self.width * 3 * self.num_synthetic_users
        return 4 * self.width * (5 * self.num_synthetic_users + 2 * self.resident)

    @property
    def all_fit(self) -> bool:
        """Whether every user is resident, so that they never change."""
        return self.resident >= self.num_users

    @cached_property
    def row_sum(self) -> float:
        """The mean row sum of the data."""
        return float(max(self.narrow.sum(axis=1).mean(), 1e-6))

    def fingerprint(self) -> str:
        """Of everything that the result follows from."""
        digest = hashlib.blake2b(digest_size=20)
        settings = dataclasses.asdict(self.settings)
        text = json.dumps([settings, self.seed, self.held.training.num_items])
        digest.update(text.encode())
        for matrix in (self.held.training.interactions, self.held.targets):
            for part in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def users(self, step: int) -> DeviceUsers:
        """The users that are resident from `step` on; drawn by seed, some twice to fill up."""
        generator = np.random.default_rng(derive_seed(self.seed, "resident", step))
        order = generator.permutation(self.num_users)
        drawn = np.resize(order, self.resident)
        is_item = np.arange(self.width) < len(self.items)
        return DeviceUsers(
            rows=self._on_device(self.narrow[drawn].toarray()),
            targets=self._on_device(self.guide.targets(drawn)),
            weights=jnp.asarray(self.held.training.weights[drawn], jnp.float32),
            is_item=jnp.asarray(is_item),
            num_items=jnp.float32(self.held.training.num_items),
            row_sum=jnp.float32(self.row_sum),
        )

    def first_users(self) -> NDArray[np.int64]:
        """Real users drawn by seed, none twice, from whom the synthetic ones start."""
        generator = np.random.default_rng(derive_seed(self.seed, "start"))
        weights = self.held.training.weights
        return generator.choice(
            self.num_users, self.num_synthetic_users, replace=False, p=weights / weights.sum()
        )

    def start(self) -> StepState:
        """The state before the first step."""
        drawn = self.first_users()
        rows = self._on_device(self.narrow[drawn].toarray())
        targets = self._on_device(self.guide.targets(drawn))
        method = PARAMETRISATIONS[self.settings.method]
        key = jax.random.key(derive_seed(self.seed, "steps") % 2**32)
        replayed = jnp.asarray(self.held.training.replayed[drawn])[:, None]
        # A row that was learnt goes on from where it is.
        parameters = jnp.where(replayed, rows, method.start(rows, targets, self.settings))
        return start_state(parameters, self.settings, key)

    def _on_device(self, dense: NDArray[np.float32]) -> Array:
        padded = np.zeros((len(dense), self.width), dtype=np.float32)
        padded[:, : dense.shape[1]] = dense
        return jnp.asarray(padded)


def padded_width(width: int) -> int:
    """The least number of columns that is compiled for and holds so many."""
    return round_up(width, _WIDTH_STEP)


def takes_blocks(width: int, num_users: int, settings: DistillSettings) -> bool:
    """Whether a distillation of so many columns and users is worked on in item blocks.

    Their loss must follow from inner products, and few entries of a row count.
    """
    sparse = settings.method == "sparse" and settings.max_items is not None
    on_cpu = jax.default_backend() == "cpu"
    widest = WIDEST_ON_CPU + min(num_users, _MOST_COUNTED) // 2 if on_cpu else WIDEST
    return width > widest and sparse and settings.loss == "cosine"
