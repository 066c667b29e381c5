"""The memory of real rows over periods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.base import widen
from perennial.memory.budget import parse_policy
from perennial.memory.sampled_memory import SampledMemory
from perennial.memory.samplers.registry import SAMPLERS
from perennial.storage.base import sparse_bytes


class Log:
    """Stands in for a history: ten users a period, one item of their own each."""

    store = None

    def __init__(self, period):
        self.period = period

    def rows(self, first, last=None):
        return self

    @property
    def interactions(self):
        number = np.arange(10)
        columns = 10 * (self.period - 1) + number
        ones = np.ones(10, dtype=np.float32)
        return csr_array((ones, (number, columns)), shape=(10, 10 * self.period))


def after(policy, periods, seed=0, sampler="user-rns", budget=6):
    memory = SampledMemory(budget, parse_policy(policy), 2.0, SAMPLERS.load(sampler))
    for period in range(1, periods + 1):
        memory = memory.update(Log(period), None, seed)
    return memory


@pytest.mark.parametrize(
    ("policy", "counts"), [("all", [2, 2, 2]), ("recent:1", [0, 0, 6]), ("recent:2", [0, 3, 3])]
)
def test_periods_share_the_budget(policy, counts):
    rows = after(policy, 3).replay_rows(40)
    assert rows.num_items == 40
    assert np.bincount(rows.last_period, minlength=4)[1:].tolist() == counts
    assert rows.replayed.all()
    np.testing.assert_array_equal(rows.weights, 2.0)
    # A row comes from the period it is said to come from.
    np.testing.assert_array_equal(rows.interactions.indices // 10 + 1, rows.last_period)


def test_a_rolling_buffer_holds_all_users_so_far_as_likely():
    counts = np.zeros(40)
    for seed in range(400):
        rows = after("rolling", 4, seed).replay_rows(40)
        assert rows.num_rows == 6
        counts[rows.interactions.indices] += 1
    # 60 expected each, standard deviation 7; 600 a period, standard deviation 20.
    assert np.abs(counts - 60).max() < 32
    assert np.abs(counts.reshape(4, 10).sum(axis=1) - 600).max() < 90


class UnevenLog(Log):
    """30 users a period with rows of length 1 to 40, other ones each period."""

    @property
    def interactions(self):
        generator = np.random.default_rng(self.period)
        lengths = generator.integers(1, 41, 30)
        columns = np.concatenate([generator.permutation(50)[:length] for length in lengths])
        owner = np.repeat(np.arange(30), lengths)
        ones = np.ones(len(columns), dtype=np.float32)
        return csr_array((ones, (owner, columns)), shape=(30, 50))


@pytest.mark.parametrize("policy", ["all", "recent:2", "rolling"])
@pytest.mark.parametrize("budget", [5, 20, 40])
def test_random_interactions_stay_as_many_as_random_users_bring(policy, budget):
    sampler = SAMPLERS.load("interaction-rns")
    memory = SampledMemory(budget, parse_policy(policy), 1.0, sampler)
    means = []
    for period in range(1, 6):
        log = UnevenLog(period)
        memory = memory.update(log, None, 0)
        means.append(log.interactions.nnz / 30)
        rows = memory.replay_rows(50).interactions
        assert (np.diff(rows.indptr) > 0).all()
        # Each part is rounded.
        assert rows.nnz <= rows.shape[0] * max(means) + period
    assert rows.nnz > 0.8 * rows.shape[0] * min(means)
    if policy == "rolling":
        held = memory.parts[-1].rows
        assert held.nnz <= round(held.shape[0] * np.mean(means))


POLICIES = ["all", "recent:2", "rolling", "whole"]


def uneven(policy, sampler, budget, periods=4):
    """Yield what is replayed after each period; `None` while nothing is."""
    memory = SampledMemory(budget, parse_policy(policy), 1.0, SAMPLERS.load(sampler))
    for period in range(1, periods + 1):
        memory = memory.update(UnevenLog(period), None, 0)
        yield memory.replay_rows(50)


def size_of(rows):
    return 0 if rows is None else sparse_bytes(rows.num_rows, rows.interactions.nnz)


SLOW_MODEL = pytest.param("svp-cf-user", marks=pytest.mark.slow)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "sampler", [*(name for name in SAMPLERS if name != "svp-cf-user"), SLOW_MODEL]
)
def test_bytes_are_never_exceeded(policy, sampler):
    @settings(max_examples=3 if sampler == "svp-cf-user" else 20)
    @given(st.integers(12, 12_000))
    def check(amount):
        sizes = [size_of(rows) for rows in uneven(policy, sampler, f"{amount}B")]
        assert max(sizes) <= amount
        # A row has at most 40 items, and a period may have fewer rows than there is room for.
        room = min(amount, size_of(list(uneven(policy, sampler, 30))[-1]))
        assert sizes[-1] > room - 2 * sparse_bytes(1, 40)

    check()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sampler", ["user-rns", "head-user"])
def test_the_bytes_of_some_rows_hold_these_rows(policy, sampler):
    for expected in uneven(policy, sampler, 7):
        found = list(uneven(policy, sampler, f"{size_of(expected)}B", expected.last_period.max()))
        if policy in ("rolling", "whole"):
            np.testing.assert_array_equal(
                found[-1].interactions.toarray(), expected.interactions.toarray()
            )
        assert size_of(found[-1]) <= size_of(expected)


def test_parts_of_rows_stay_parts_of_rows():
    sampler = SAMPLERS.load("interaction-rns")
    memory = SampledMemory(20, parse_policy("rolling"), 1.0, sampler)
    for period in range(1, 5):
        memory = memory.update(UnevenLog(period), None, 0)
    rows = memory.replay_rows(50)
    real = {period: UnevenLog(period).interactions.toarray() for period in range(1, 5)}
    for row, period in zip(rows.interactions.toarray(), rows.last_period, strict=True):
        assert (row <= real[period]).all(axis=1).any()


def test_a_catalogue_never_shrinks():
    with pytest.raises(ValueError, match="narrowed"):
        widen(csr_array((2, 5)), 4)
