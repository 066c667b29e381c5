"""ADER's memory over periods: real rows, under a budget, the same again from what was kept."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.memory.exemplar_memory import ExemplarMemory
from perennial.models.base import Teacher
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


def arrays_of(rows):
    return rows.interactions.toarray(), rows.last_period, rows.weights


def assert_same(one, other):
    for ours, theirs in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("budget", [1, 7, 20, 1000])
def test_the_budget_is_never_exceeded(budget):
    memory = ExemplarMemory(budget)
    for period in range(1, 6):
        memory = learn(memory, Log(period))
        rows = memory.replay_rows(50)
        assert 0 < rows.num_rows <= budget
        assert rows.num_rows <= 30 * period


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


def test_the_same_seed_keeps_the_same_and_another_does_not():
    one, same, other = (after(3, seed=seed).replay_rows(30) for seed in (4, 4, 5))
    assert_same(one, same)
    assert one.num_rows != other.num_rows or not np.array_equal(
        arrays_of(one)[0], arrays_of(other)[0]
    )


def test_groups_share_the_budget_by_their_size():
    """Over many seeds a group has as much of the exemplars as of the users."""
    log = Log(1, num_users=200)
    share = np.bincount(log.last_items(), minlength=6) / 200
    kept = np.zeros(6)
    for seed in range(60):
        kept += np.bincount(learn(ExemplarMemory(30), log, seed).exemplars.groups, minlength=6)
    # 1,800 draws at most; a share of 1/6 has a standard error of 0.9%.
    np.testing.assert_allclose(kept / kept.sum(), share, atol=0.05)


def test_nothing_is_remembered_at_first():
    memory = ExemplarMemory(5)
    assert memory.replay_rows(10) is None
    assert memory.needs_model
    assert memory.is_stored
    assert isinstance(Cosine(3), Teacher)


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


def test_more_exemplars_than_the_budget_are_refused():
    with pytest.raises(UserError, match="damaged"):
        ExemplarMemory(2).restore(after(2).state())


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


def test_a_model_that_cannot_compare_rows_is_refused():
    with pytest.raises(UserError, match=r"'ader' needs a model .* choose infinite-ae or mvae"):
        ExemplarMemory(5).update(Log(1), object(), 0)
