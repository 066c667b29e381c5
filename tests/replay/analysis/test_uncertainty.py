"""Intervals over users and seeds: by hand, and by how often they contain the truth."""

import numpy as np
import pytest
from scipy.stats import t as student

from perennial.replay.analysis.uncertainty import Arm, PeriodSeries, Series, measure, resample_means

NUM_USERS = 80
PERIODS = 3


def make_arms(values, num_resamples=120, *, draws=True):
    """Arms from `(arms, seeds, periods, users)` values of the same users."""
    num_arms, num_seeds = values.shape[:2]
    columns = values.reshape(-1, *values.shape[2:])
    users = np.arange(values.shape[3], dtype=np.int32)
    periods = [
        PeriodSeries(users, [Series(place, one[number]) for place, one in enumerate(columns)])
        for number in range(values.shape[2])
    ]
    samples = resample_means(periods, len(columns), num_resamples=num_resamples)
    figures = columns.mean(axis=(1, 2)).reshape(num_arms, num_seeds)
    by_arm = samples.reshape(-1, num_arms, num_seeds)
    return [Arm(figures[arm], by_arm[:, arm], draws) for arm in range(num_arms)]


def draw_values(rng, num_seeds, *, seed_deviation, taste, noise):
    """Draw two arms of one mean; seeds shift all users, `taste` users in an arm, `noise` values."""
    shape = (2, num_seeds, PERIODS, NUM_USERS)
    return (
        rng.normal(50, 20, size=(1, 1, PERIODS, NUM_USERS))
        + taste * rng.normal(size=(2, 1, 1, NUM_USERS))
        + seed_deviation * rng.normal(size=(2, num_seeds, 1, 1))
        + noise * rng.normal(size=shape)
    )


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("taste", "noise"), [(0.0, 8.0), (3.0, 0.0), (3.0, 8.0)], ids=["noise", "taste", "both"]
)
def test_intervals_of_identical_arms_cover_the_truth(num_seeds, taste, noise):
    rng = np.random.default_rng(num_seeds)
    covered, by_users_alone = [], []
    for _ in range(400):
        values = draw_values(rng, num_seeds, seed_deviation=1.0, taste=taste, noise=noise)
        arms = make_arms(values)
        difference = abs(arms[0].figures.mean() - arms[1].figures.mean())
        found = measure(arms, NUM_USERS)
        covered.append(difference <= found.half_width())
        by_users_alone.append(difference <= 1.96 * found.user_stderr)
    # The standard error of a share of 400 is 1.1 points; few seeds cover a little more.
    assert 0.92 < np.mean(covered) < 0.995
    assert np.mean(by_users_alone) < 0.85


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_the_variance_of_a_difference_is_unbiased(num_seeds):
    rng = np.random.default_rng(0)
    made = {"seed_deviation": 1.0, "taste": 4.0, "noise": 6.0}
    variances, differences = [], []
    for _ in range(300):
        arms = make_arms(draw_values(rng, num_seeds, **made))
        variances.append(measure(arms, NUM_USERS).stderr ** 2)
        differences.append(arms[0].figures.mean() - arms[1].figures.mean())
    expected = 2 * (1 / num_seeds + 16 / NUM_USERS + 36 / (PERIODS * NUM_USERS * num_seeds))
    assert np.var(differences) == pytest.approx(expected, rel=0.25)
    assert np.mean(variances) == pytest.approx(expected, rel=0.12)


def test_by_hand():
    # Every user has the same figures, so that only the seeds vary.
    seeds = np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
    found = measure(make_arms(np.tile(seeds[:, :, None, None], (1, 1, 2, 5))), 5)
    assert found.users == pytest.approx(0.0, abs=1e-12)
    assert found.seeds == pytest.approx(7.0 / 3)
    assert (found.user_freedom, found.seed_freedom) == (4, pytest.approx(2.0))
    assert found.half_width() == pytest.approx(student.ppf(0.975, 2) * np.sqrt(7 / 3))


def test_without_seeds_it_is_the_error_of_the_users():
    values = np.random.default_rng(0).normal(50, 10, size=(1, 1, 1, 500))
    found = measure(make_arms(values, 3000, draws=False), 500)
    assert found.stderr == pytest.approx(values.std() / np.sqrt(500), rel=0.06)
    assert found.half_width() == pytest.approx(1.965 * found.stderr, rel=1e-3)


@pytest.mark.parametrize("draws", [True, False])
def test_one_seed_of_fits_that_draw_gives_no_interval(draws):
    found = measure(make_arms(np.random.default_rng(0).normal(size=(2, 1, 1, 50)), draws=draws), 50)
    assert (found.half_width() is None, found.stderr is None) == (draws, draws)
    assert found.user_stderr > 0


def test_seeds_count_where_they_differ_whatever_is_declared():
    values = np.arange(6.0).reshape(2, 3, 1, 1) * np.ones(9)
    assert measure(make_arms(values, draws=False), 9).seeds == pytest.approx(2 / 3)


def test_a_random_arm_of_one_seed_is_not_compared_with_a_fixed_one():
    drawn, fixed = make_arms(np.random.default_rng(0).normal(size=(2, 1, 1, 50)))
    fixed = Arm(fixed.figures, fixed.samples, draws_at_random=False)
    assert measure([drawn, fixed], 50).half_width() is None
    assert measure([fixed, fixed], 50).half_width() == 0.0


def test_a_single_user_or_draw_gives_nothing():
    arms = make_arms(np.ones((2, 2, 1, 1)))
    assert measure(arms, 1) is None
    lost = [Arm(one.figures, np.full_like(one.samples, np.nan), True) for one in arms]
    assert measure(lost, 8) is None
