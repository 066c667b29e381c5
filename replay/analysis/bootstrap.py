"""Bootstrap of a mean over periods: users are resampled with all their periods.

A user is evaluated in several periods, so the figures of the periods are no independent samples.
All strategies, models, seeds and metrics share the draws, so that their differences are paired
(design note 5).
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
