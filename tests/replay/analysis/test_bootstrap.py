"""The bootstrap against a plain loop, and on cases with known results."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.replay.analysis.uncertainty import PeriodSeries, Series, all_users, resample_means


def one_group(columns, users=None):
    return [
        PeriodSeries(
            np.arange(len(values), dtype=np.int32) if users is None else users[number],
            [Series(0, np.asarray(values, float), weights)],
        )
        for number, (values, weights) in enumerate(columns)
    ]


def naive_means(periods, num_columns, num_resamples, seed):
    users = sorted({int(user) for period in periods for user in period.users})
    rng = np.random.default_rng(seed)
    samples = np.full((num_resamples, num_columns), np.nan)
    for draw in range(num_resamples):
        drawn = [users[place] for place in rng.integers(0, len(users), len(users))]
        for column in range(num_columns):
            of_periods = []
            for period in periods:
                place = {int(user): number for number, user in enumerate(period.users)}
                for series in period.series:
                    if series.column != column:
                        continue
                    rows = [place[user] for user in drawn if user in place]
                    weights = [1.0 if series.weights is None else series.weights[r] for r in rows]
                    if sum(weights) > 0:
                        values = [series.values[r] for r in rows]
                        of_periods.append(np.average(values, weights=weights))
            if of_periods:
                samples[draw, column] = np.mean(of_periods)
    return samples


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4))
def test_agrees_with_a_plain_loop(seed, num_periods, num_columns):
    rng = np.random.default_rng(seed)
    periods = []
    for _ in range(num_periods):
        users = rng.permutation(12)[: rng.integers(1, 8)].astype(np.int32)
        series = [
            Series(
                column,
                rng.normal(size=len(users)),
                rng.integers(0, 3, len(users)).astype(float) if rng.random() < 0.5 else None,
            )
            for column in range(num_columns)
            if rng.random() < 0.9
        ]
        periods.append(PeriodSeries(users, series))
    fast = resample_means(periods, num_columns, num_resamples=7, seed=seed)
    np.testing.assert_allclose(fast, naive_means(periods, num_columns, 7, seed), atol=1e-12)


def test_blocks_of_draws_do_not_change_anything(monkeypatch):
    rng = np.random.default_rng(0)
    periods = one_group([(rng.normal(size=30), None), (rng.normal(size=30), None)])
    whole = resample_means(periods, 1, num_resamples=50, seed=3)
    monkeypatch.setattr("perennial.replay.analysis.uncertainty._BLOCK_NUMBERS", 90)
    np.testing.assert_allclose(resample_means(periods, 1, num_resamples=50, seed=3), whole)


def test_without_users_there_is_no_mean():
    assert np.isnan(resample_means([], 2, num_resamples=3)).all()
    empty = PeriodSeries(np.empty(0, np.int32), [Series(0, np.empty(0))])
    assert np.isnan(resample_means([empty], 1, num_resamples=3)).all()


def test_users_of_several_periods_count_once():
    users = [np.array(one, np.int32) for one in ([4, 1], [1, 7], [])]
    assert all_users([PeriodSeries(one, []) for one in users]).tolist() == [1, 4, 7]
