"""Standard errors and intervals of a mean, or of a difference of two, over users and seeds.

A figure varies with the users that happen to be in the log and, where fits draw at random, with the
seeds. The variance is the sum of the two parts. A bootstrap over users gives the first: all seeds
have the same users. The sample variance of the seeds' figures, divided by their number, is the
second, and is unbiased however few they are (resampling S seeds would give (S − 1)/S of it). What a
seed does to single users is in both, so it is taken out of the first.

A few seeds know their variance badly, so the interval has Student's t for each part:
half its width is √(t₁²·users + t₂²·seeds), by Banerjee (Sankhyā 22, 1960), whose coverage is at
least the nominal one whatever the shares of the parts. The degrees of freedom are those of the
users, and for the seeds Welch's: the seeds of the two sides draw independently of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: its mean over periods, seed by seed.

    Attributes:
        figures: `(S,)` float64, of each seed.
        samples: `(B, S)` float64, the same for resampled users; NaN where a draw gives no figure.
        draws_at_random: True if another seed may give another figure.
    """

    figures: NDArray[np.float64]
    samples: NDArray[np.float64]
    draws_at_random: bool


@dataclass(frozen=True)
class Uncertainty:
    """Variance of a mean, or of a difference: parts of other users and seeds, with their freedom.

    `seeds` is `None` if one seed of fits that draw at random cannot give it, and its degrees of
    freedom are 1 where it is 0.
    """

    users: float
    user_freedom: int
    seeds: float | None
    seed_freedom: float

    @property
    def stderr(self) -> float | None:
        """Standard error over users and seeds; `None` if the seeds' part is unknown."""
        return None if self.seeds is None else float(np.sqrt(self.users + self.seeds))

    @property
    def user_stderr(self) -> float:
        """Standard error over users alone, for these seeds."""
        return float(np.sqrt(self.users))

    def half_width(self, level: float = 0.95) -> float | None:
        """Return half the width of the interval; `None` if the seeds' part is unknown."""
        if self.seeds is None:
            return None
        # Tables of reports are imported without SciPy, to show the status of a store.
        from scipy.special import stdtrit

        tail = (1.0 + level) / 2.0
        users = stdtrit(self.user_freedom, tail) ** 2 * self.users
        seeds = stdtrit(self.seed_freedom, tail) ** 2 * self.seeds
        return float(np.sqrt(users + seeds))


def measure(arms: Sequence[Arm], num_users: int) -> Uncertainty | None:
    """Measure the variance of the mean of one arm, or of the first less the second.

    The samples are of the same draws of users; `num_users` are the distinct users that were
    resampled. `None` if fewer than two users or two draws give a figure.
    """
    means = [arm.samples.mean(axis=1) for arm in arms]
    contrast = means[0] if len(means) == 1 else means[0] - means[1]
    known = ~np.isnan(contrast)
    if num_users < 2 or known.sum() < 2:
        return None
    parts = [float(arm.figures.var(ddof=1)) / len(arm.figures) for arm in arms if _is_spread(arm)]
    freedoms = [len(arm.figures) - 1 for arm in arms if _is_spread(arm)]
    is_known = all(_is_spread(arm) or not arm.draws_at_random for arm in arms)
    # A bootstrap of n users has (n − 1)/n of the variance.
    correction = num_users / (num_users - 1)
    users = correction * (
        np.var(contrast[known], ddof=1) - sum(_shared(arm, known) for arm in arms)
    )
    squares = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return Uncertainty(
        users=max(0.0, float(users)),
        user_freedom=num_users - 1,
        seeds=sum(parts) if is_known else None,
        seed_freedom=sum(parts) ** 2 / squares if squares else 1.0,
    )


def _is_spread(arm: Arm) -> bool:
    """Return whether an arm has seeds to compare."""
    return len(arm.figures) > 1


def _shared(arm: Arm, known: NDArray[np.bool_]) -> float:
    """Return the variance over users that is in the seeds' part too."""
    num_seeds = len(arm.figures)
    if num_seeds == 1:
        return 0.0
    samples = arm.samples[known]
    apart = samples - samples.mean(axis=1, keepdims=True)
    return float(apart.var(axis=0, ddof=1).sum()) / (num_seeds * (num_seeds - 1))
