"""ADER's memory over periods: real rows, under a budget, the same again from what was kept."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory import exemplar_memory as herding
from perennial.memory.exemplar_memory import ExemplarMemory, draw_quotas, herd, herd_groups
from perennial.storage.base import sparse_bytes
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import UserRows


@dataclass(frozen=True)
class Log:
    """Stands in for a history: users at random, five more items each period."""

    period: int
    num_users: int = 30
    store: None = None

    @property
    def num_items(self):
        return 10 + 5 * self.period

    def rows(self, first, last=None):
        assert first == self.period
        generator = np.random.default_rng(self.period)
        dense = generator.random((self.num_users, self.num_items)) < 0.2
        dense[np.arange(self.num_users), self.last_items()] = True
        periods = np.full(self.num_users, self.period, np.int32)
        users = np.arange(self.num_users, dtype=np.int32)
        return UserRows(users, csr_array(dense.astype(np.float32)), periods)

    def last_items(self):
        generator = np.random.default_rng(100 + self.period)
        return generator.integers(0, 6, self.num_users).astype(np.int32)


@dataclass(frozen=True)
class Cosine:
    """A teacher whose representation of a row is the row."""

    num_items: int
    report: dict = field(default_factory=dict)

    def score_blocks(self, contexts, block_rows):
        raise AssertionError("herding needs no scores")

    def to_arrays(self):
        return {}, {}

    def similarity(self, rows):
        assert rows.shape[1] == self.num_items
        dense = rows.toarray().astype(np.float64)
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        return dense @ dense.T


def learn(memory, log, seed=0):
    return memory.update(log, Cosine(log.num_items), seed)


def after(periods, budget=20, seed=0):
    memory = ExemplarMemory(budget)
    for period in range(1, periods + 1):
        memory = learn(memory, Log(period), seed)
    return memory


def assert_same(one, other):
    for name in ("last_period", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.interactions.toarray(), other.interactions.toarray())


@pytest.mark.parametrize("budget", [1, 7, 20, 1000])
def test_the_budget_is_never_exceeded(budget):
    memory = ExemplarMemory(budget)
    for period in range(1, 6):
        memory = learn(memory, Log(period))
        rows = memory.replay_rows(50)
        assert 0 < rows.num_rows <= budget
        assert rows.num_rows <= 30 * period


@given(amount=st.integers(12, 8000), seed=st.integers(0, 3))
@settings(max_examples=30)
def test_bytes_are_never_exceeded(amount, seed):
    memory = ExemplarMemory(f"{amount}B")
    for period in range(1, 4):
        memory = learn(memory, Log(period), seed)
        kept = memory.exemplars.rows
        assert sparse_bytes(kept.shape[0], kept.nnz) <= amount
        assert memory.restore(memory.state()).exemplars.rows.shape == kept.shape
    # Quotas beyond a group's rows are lost, as with a budget of rows.
    assert sparse_bytes(kept.shape[0], kept.nnz) > min(amount, 4000) / 2 - 200


def test_exemplars_are_real_rows_of_the_periods_so_far():
    memory = after(4)
    rows = memory.replay_rows(40)
    assert rows.num_items == 40
    assert rows.replayed.all()
    assert rows.weights.tolist() == [1.0] * rows.num_rows
    assert rows.teacher is memory.teacher
    assert rows.teacher.num_items == Log(4).num_items
    # Not only the newest period's: the old exemplars are candidates again.
    assert len(set(rows.last_period)) > 1
    assert rows.last_period.max() <= 4
    groups = memory.exemplars.groups
    for row, period, group in zip(
        rows.interactions.toarray(), rows.last_period, groups, strict=True
    ):
        log = Log(int(period))
        real = np.pad(log.rows(log.period).interactions.toarray(), ((0, 0), (0, 40)))[:, :40]
        (same,) = np.nonzero((real == row).all(axis=1))
        assert group in log.last_items()[same], "the group is the row's own last item"


def test_no_row_is_kept_twice():
    kept = after(5, budget=60).replay_rows(40)
    told = np.column_stack([kept.last_period, kept.interactions.toarray()])
    assert len(np.unique(told, axis=0)) == kept.num_rows


def test_groups_share_the_budget_by_their_size():
    """Over many seeds a group has as much of the exemplars as of the users."""
    log = Log(1, num_users=200)
    share = np.bincount(log.last_items(), minlength=6) / 200
    kept = np.zeros(6)
    for seed in range(60):
        kept += np.bincount(learn(ExemplarMemory(30), log, seed).exemplars.groups, minlength=6)
    # 1,800 draws at most; a share of 1/6 has a standard error of 0.9%.
    np.testing.assert_allclose(kept / kept.sum(), share, atol=0.05)


@pytest.mark.parametrize("periods", [0, 3])
def test_a_memory_resumes_from_its_state(periods):
    memory, log = after(periods), Log(periods + 1)
    arrays = {name: values.copy() for name, values in memory.state().items()}
    back = ExemplarMemory(20).restore(arrays)
    assert back.replay_rows(40) is None, "its teacher is not stored with it"
    assert_same(learn(back, log).replay_rows(40), learn(memory, log).replay_rows(40))
    for name, values in back.state().items():
        assert values.dtype == arrays[name].dtype
        np.testing.assert_array_equal(values, arrays[name])


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("items"),
        lambda arrays: arrays.pop("shape"),
        lambda arrays: arrays.pop("groups"),
        lambda arrays: arrays.update(items=arrays["items"] + 10_000),
        lambda arrays: arrays.update(items=arrays["items"] - 1000),
        lambda arrays: arrays.update(items=arrays["items"][:-1]),
        lambda arrays: arrays.update(offsets=arrays["offsets"][::-1]),
        lambda arrays: arrays.update(offsets=arrays["offsets"][:-1]),
        lambda arrays: arrays.update(shape=arrays["shape"][:1]),
        lambda arrays: arrays.update(groups=arrays["groups"][:-1]),
        lambda arrays: arrays.update(periods=arrays["periods"][1:]),
    ],
)
def test_damaged_exemplars_are_refused_in_one_line(damage):
    arrays = after(2).state()
    damage(arrays)
    with pytest.raises(UserError, match=r"stored exemplars are damaged .*--fresh"):
        ExemplarMemory(20).restore(arrays)


@pytest.mark.parametrize("budget", [2, "100B"])
def test_more_exemplars_than_the_budget_are_refused(budget):
    with pytest.raises(UserError, match="damaged"):
        ExemplarMemory(budget).restore(after(2).state())


@pytest.mark.parametrize("num_users", [0, 1, 2])
def test_a_tiny_period(num_users):
    tiny = Log(3, num_users=num_users)
    alone = learn(ExemplarMemory(20), tiny)
    kept = alone.replay_rows(tiny.num_items)
    assert (0 if kept is None else kept.num_rows) <= num_users
    # After others, the exemplars of those go on.
    memory = learn(after(2), tiny)
    rows = memory.replay_rows(tiny.num_items)
    assert (rows.last_period < 3).any()
    assert rows.num_rows <= 20


# Five rows of length 1; their mean is μ = (0.6, 0.08). Worked by hand, D_j and ⟨w, D_j⟩:
#                      D_0    D_1    D_2    D_3    D_4   argmax
#   w_0 ( 0.6,  0.08)  0.600  0.424  0.432  0.080  0.296   0
#   w_1 ( 0.2,  0.16)  0.200  0.248  0.064  0.160 -0.008   1
#   w_2 ( 0.2, -0.56)  0.200 -0.328  0.496 -0.560  0.568   4
#   w_3 ( 0.2,  0.32)  0.200  0.376 -0.032  0.320 -0.136   1 again
#   w_4 ( 0.2, -0.40)  0.200 -0.200  0.400 -0.400  0.440   4 again
#   w_5 ( 0.2,  0.48)  0.200  0.504 -0.128  0.480 -0.264   1 again
FIVE = np.array([[1, 0], [0.6, 0.8], [0.8, -0.6], [0, 1], [0.6, -0.8]])


@pytest.mark.parametrize(
    ("quota", "chosen"),
    [
        (0, []),
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 4]),
        # ⌈4.4⌉ = 5 turns and ⌈5.5⌉ = 6 turns: they end before a fourth row is found.
        (4, [0, 1, 4]),
        (5, [0, 1, 4]),
    ],
)
def test_five_rows_by_hand(quota, chosen):
    assert herd(FIVE @ FIVE.T, quota).tolist() == chosen


def herd_features(features, quota):
    """As the authors' code has it, on the representations themselves."""
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean = scaled.mean(axis=0)
    weight, chosen, turns = mean.copy(), [], 0
    while len(chosen) < quota and turns < 1.1 * quota:
        best = int(np.argmax(scaled @ weight))
        weight = weight + mean - scaled[best]
        turns += 1
        if best not in chosen:
            chosen.append(best)
    return chosen


@settings(max_examples=60)
# Of two rows both are as near to their mean, and rounding would choose.
@given(size=st.integers(3, 40), width=st.integers(3, 12), seed=st.integers(0, 10_000))
def test_the_gram_matrix_suffices(size, width, seed):
    features = np.random.default_rng(seed).standard_normal((size, width))
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    for quota in {1, size // 2, size}:
        assert herd(scaled @ scaled.T, quota).tolist() == herd_features(features, quota)


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    budget=st.integers(1, 200),
    seed=st.integers(0, 1000),
)
def test_quotas_stay_within_the_budget_and_the_groups(counts, budget, seed):
    counts = np.array(counts)
    quotas = draw_quotas(counts, budget, np.random.default_rng(seed))
    assert quotas.sum() <= budget
    assert (quotas >= 0).all()
    assert (quotas <= counts).all()


def test_quotas_go_by_frequency():
    counts = np.array([500, 300, 200])
    generator = np.random.default_rng(0)
    mean = np.mean([draw_quotas(counts, 100, generator) for _ in range(400)], axis=0)
    # 50, 30 and 20 expected, each with a standard error of at most 0.25.
    np.testing.assert_allclose(mean, [50, 30, 20], atol=1.2)


def similarity_of(size, seed=0):
    """Similarity of rows at random, and the rows that were asked for at a time."""
    features = np.random.default_rng(seed).standard_normal((size, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    gram = features @ features.T
    asked = []

    def similarity(numbers):
        asked.append(numbers)
        return gram[np.ix_(numbers, numbers)]

    return similarity, asked


@given(
    groups=st.lists(st.integers(0, 8), max_size=60),
    budget=st.integers(1, 80),
    seed=st.integers(0, 1000),
)
@example(groups=[], budget=5, seed=0)
def test_what_is_chosen(groups, budget, seed):
    groups = np.array(groups, dtype=np.int64)
    similarity, asked = similarity_of(len(groups))
    chosen, again = (
        herd_groups(groups, budget, similarity, np.random.default_rng(seed)) for _ in range(2)
    )
    np.testing.assert_array_equal(chosen, again)
    assert chosen.dtype == np.int64
    assert len(chosen) <= budget
    assert (np.diff(chosen) > 0).all(), "ascending, so distinct"
    assert ((chosen >= 0) & (chosen < len(groups))).all()
    # No group gives more than it was drawn for.
    present, counts = np.unique(groups, return_counts=True)
    if len(groups):
        quotas = draw_quotas(counts, budget, np.random.default_rng(seed))
        taken = np.array([(groups[chosen] == group).sum() for group in present])
        assert (taken <= quotas).all()
        assert (taken[quotas > 0] > 0).all()
    # Nothing is asked of rows that are alone in their group.
    alone = np.isin(groups, present[counts == 1])
    assert not any(alone[numbers].any() for numbers in asked)


def test_rows_alone_in_their_groups():
    similarity, asked = similarity_of(12)
    generator = np.random.default_rng(0)
    few = herd_groups(np.arange(12), 4, similarity, generator)
    assert 1 <= len(few) <= 4
    everyone = herd_groups(np.arange(12), 10_000, similarity, generator)
    np.testing.assert_array_equal(everyone, np.arange(12))
    assert asked == []


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_how_many_are_asked_for_at_a_time_changes_nothing(chunk, monkeypatch):
    groups = np.random.default_rng(3).integers(0, 15, 120)
    groups[:30] = 20
    similarity, asked = similarity_of(120)
    whole = herd_groups(groups, 60, similarity, np.random.default_rng(1))
    assert len(asked) == 1
    asked.clear()
    monkeypatch.setattr(herding, "_CHUNK", chunk)
    parts = herd_groups(groups, 60, similarity, np.random.default_rng(1))
    np.testing.assert_array_equal(parts, whole)
    assert len(asked) > 1
    # A group larger than that comes whole and by itself.
    assert all(len(rows) <= chunk or len(set(groups[rows])) == 1 for rows in asked)
    seen = np.concatenate(asked)
    assert len(np.unique(seen)) == len(seen)
