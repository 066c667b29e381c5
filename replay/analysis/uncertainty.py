"""Standard errors and intervals of a mean, or of a difference of two, over users and seeds.

A figure varies with the users that happen to be in the log and, where fits draw at random, with the
seeds. The variance is the sum of the two parts. A bootstrap over users gives the first: users are
resampled with all their periods, in the same way for all strategies, models, seeds and metrics, so
that differences are paired (design note 5). The sample variance of the seeds' figures, divided by
their number, is the second, and is unbiased however few they are (resampling S seeds would give (S
− 1)/S of it). What a seed does to single users is in both, so it is taken out of the first.

A few seeds are a poor estimate of their variance, so the interval has Student's t for each part:
half its width is √(t₁²·users + t₂²·seeds), by Banerjee (Sankhyā 22, 1960), whose coverage is at
least the nominal one whatever the shares of the parts. The degrees of freedom are those of the
users, and for the seeds Welch's: the seeds of the two sides draw independently of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK_NUMBERS = 4_000_000
"""Multiplicities in memory at a time."""


@dataclass(frozen=True)
class Series:
    """One figure of one period for one seed, `(n,)` values of users and weights ≥ 0, if unequal.

    `column` is the index of the mean that it contributes to, different from the period's others.
    """

    column: int
    values: NDArray[np.floating]
    weights: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class PeriodSeries:
    """All figures of one period over the same users, `(n,)` distinct int32 vocabulary indices."""

    users: NDArray[np.int32]
    series: Sequence[Series]


def resample_means(
    periods: Sequence[PeriodSeries], num_columns: int, *, num_resamples: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Compute means over periods, for resampled users.

    There are C = `num_columns` figures, one more than the largest column, and B = `num_resamples`
    draws.

    Returns:
        `(B, C)` float64, one mean per draw and column; a period in which a draw leaves a figure
        without any weight is left out of that draw's mean. NaN for a column without figures.
    """
    users = all_users(periods)
    positions = [np.searchsorted(users, period.users) for period in periods]
    samples = np.full((num_resamples, num_columns), np.nan)
    if len(users) == 0:
        return samples
    rng = np.random.default_rng(seed)
    step = max(1, min(num_resamples, _BLOCK_NUMBERS // len(users)))
    for start in range(0, num_resamples, step):
        num_draws = min(step, num_resamples - start)
        multiplicity = _draw_users(rng, len(users), num_draws)
        figures = [
            _figures(period.series, multiplicity[:, where], num_columns)
            for period, where in zip(periods, positions, strict=True)
        ]
        samples[start : start + num_draws] = mean_of_known(np.stack(figures), axis=0)
    return samples


def all_users(periods: Sequence[PeriodSeries]) -> NDArray[np.int64]:
    """Return the users of all periods, `(n,)`, ascending and each once."""
    evaluated = np.concatenate([np.empty(0, np.int32), *(period.users for period in periods)])
    return np.flatnonzero(np.bincount(evaluated))


def _draw_users(rng: np.random.Generator, num_users: int, num_draws: int) -> NDArray[np.float64]:
    """Draw multiplicities of users, `(num_draws, num_users)`; each row sums to `num_users`."""
    drawn = np.empty((num_draws, num_users))
    for row in drawn:
        row[:] = np.bincount(rng.integers(0, num_users, num_users), minlength=num_users)
    return drawn


def _figures(
    series: Sequence[Series], multiplicity: NDArray[np.float64], num_columns: int
) -> NDArray[np.float64]:
    """Compute a period's figure per draw and column; `(R, C)`, NaN if missing."""
    figures = np.full((len(multiplicity), num_columns), np.nan)
    if not series:
        return figures
    weighted = [s.values if s.weights is None else s.values * s.weights for s in series]
    sums = multiplicity @ np.column_stack(weighted).astype(np.float64)
    counts = np.repeat(multiplicity.sum(axis=1, keepdims=True), len(series), axis=1)
    for place, one in enumerate(series):
        if one.weights is not None:
            counts[:, place] = multiplicity @ one.weights.astype(np.float64)
    figures[:, [one.column for one in series]] = np.divide(
        sums, counts, out=np.full_like(sums, np.nan), where=counts > 0
    )
    return figures


def mean_of_known(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Compute `np.nanmean` along an axis of `(m, n)` without its warning about empty slices."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0.0).sum(axis=axis)
    means: NDArray[np.float64] = np.divide(
        sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
    return means


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
