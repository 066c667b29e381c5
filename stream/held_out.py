"""Users whom no fit sees: what a model says of them it has not learnt by heart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.errors import UserError
from stream.seeds import derive_seed


@dataclass(frozen=True)
class HeldOutUsers:
    """A share of all users, drawn by seed; who belongs to it never changes as the log grows.

    Attributes:
        share: of the users, in (0, 1).
        seed: of the draw.
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise UserError(f"share {self.share} of held-out users is not between 0 and 1")

    def mask(self, users: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each user, by vocabulary index, is held out: `(n,)` -> `(n,)` bool."""
        mixed = users.astype(np.uint64) + np.uint64(derive_seed(self.seed, "held-out users"))
        # The finaliser of SplitMix64: neighbouring indices come out unrelated.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        uniform = (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
        chosen: NDArray[np.bool_] = uniform < self.share
        return chosen
