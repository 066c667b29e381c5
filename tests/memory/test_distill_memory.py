"""The memory of summaries over periods: what is distilled, kept, replayed, found again."""

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import perennial.memory.distill_memory as module
from perennial.memory.budget import parse_policy
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import Summary
from perennial.memory.distill_memory import DistillMemory, ResidentRows, is_rolling
from perennial.storage.log.ingest import ingest_log
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store
from perennial.stream.history import History

SETTINGS = DistillSettings(num_steps=2, validate_every=1, max_items=4, regs=(1.0,), batch_size=16)
POLICIES = ("all", "recent:1", "recent:2", "rolling", "whole")


def write(path, last_period=4, seed=0):
    """Thirty events a period; an item more becomes known with each, users come and go."""
    generator = np.random.default_rng(seed)
    columns = {"user_id": [], "item_id": [], "timestamp": []}
    for period in range(1, last_period + 1):
        size = 30
        columns["user_id"] += (generator.integers(0, 12, size) + 4 * period).tolist()
        columns["item_id"] += generator.integers(0, 8 + period, size).tolist()
        columns["timestamp"] += (1000 * period + np.arange(size)).tolist()
    pq.write_table(pa.table(columns), path)
    return path


def opened(path, num_periods=4):
    store = Store.open(":memory:")
    starts = (1000 * np.arange(2, num_periods + 1, dtype=np.int64)) * 1_000_000
    ingest_log(store, [path], lambda _times: starts, IngestSettings())
    return store


def after(store, policy, periods, budget=6, seed=1):
    memory = DistillMemory(budget, parse_policy(policy), 0.5, SETTINGS)
    for period in periods:
        memory = memory.update(History(store, period), None, seed)
    return memory


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write(tmp_path_factory.mktemp("log") / "log.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_the_budget_is_kept_and_the_rows_are_marked(log, policy):
    with opened(log) as store:
        memory = after(store, policy, (1, 2, 3))
        num_items = History(store, 4).num_items
        rows = memory.replay_rows(num_items)
    assert 0 < rows.num_rows <= 6
    assert rows.num_items == num_items
    assert rows.replayed.all()
    np.testing.assert_array_equal(rows.weights, 0.5)
    newest = {"all": {1, 2, 3}, "recent:2": {2, 3}}.get(policy, {3})
    assert set(rows.last_period.tolist()) == newest


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_what_follows_changes_no_summary(log, tmp_path, policy):
    """The leak test of the memory: another period 4 and nothing else."""
    table = pq.read_table(log)
    early = table.filter(pa.compute.less(table["timestamp"], 4000))
    later = write(tmp_path / "other.parquet", seed=9)
    late = pq.read_table(later).filter(
        pa.compute.greater_equal(pq.read_table(later)["timestamp"], 4000)
    )
    pq.write_table(pa.concat_tables([early, late]), tmp_path / "mixed.parquet")
    found = []
    for path in (log, tmp_path / "mixed.parquet"):
        with opened(path) as store:
            found.append(after(store, policy, (1, 2, 3)).summaries)
    assert [one.record.key for one in found[0]] == [one.record.key for one in found[1]]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.rows.items, other.rows.items)
        np.testing.assert_array_equal(one.rows.weights, other.rows.weights)


class Spy:
    """Stands in for the distillation: notes what it is given, keeps the first row."""

    def __init__(self):
        self.given = []

    def __call__(self, rows, settings, seed, **_):
        self.given.append((rows, settings, seed))
        return Summary(rows.interactions[:2], {"users_given": round(float(rows.weights.sum()))})


@pytest.fixture
def spy(monkeypatch):
    spy = Spy()
    monkeypatch.setattr(module, "distill", spy)
    return spy


def test_a_summary_is_made_once(log, spy):
    with opened(log) as store:
        after(store, "recent:1", (1, 2))
        again = after(store, "recent:1", (1, 2))
        assert len(spy.given) == 2
        after(store, "recent:1", (1, 2), seed=2)
        assert len(spy.given) == 4
        assert len(list_summaries(store)) == 4
        assert again.summaries[0].record.period == 2
        after(store, "all", (1, 2))
        assert len(spy.given) == 4, "policies that need the same summaries share them"


def test_what_is_distilled(log, spy):
    """A period, or all periods so far."""
    with opened(log) as store:
        users = [len(History(store, t).rows(first=t).users) for t in (1, 2, 3)]
        seen = len(History(store, 3).rows(first=1).users)
        for policy in ("recent:1", "whole"):
            after(store, policy, (1, 2, 3))
        period, whole = spy.given[2], spy.given[-1]
        records = {one.first_period for one in list_summaries(store) if one.period == 3}
    assert period[0].num_rows == users[2]
    assert whole[0].num_rows == seen
    assert not whole[0].replayed.any()
    assert records == {1, 3}
    assert period[1].num_synthetic_users == 6


def test_a_rolling_summary_is_extended_by_the_new_users(log, monkeypatch):
    given = []

    def extend(before, rows, is_new, settings, seed):
        given.append((before, rows, is_new))
        users = (0 if before is None else before.report["users_given"]) + int(is_new.sum())
        return Summary(rows.interactions[:2], {"users_given": users})

    monkeypatch.setattr(module, "extend_summary", extend)
    with opened(log) as store:
        after(store, "rolling", (1, 2, 3))
        seen = [set(History(store, t).rows(first=1).users.tolist()) for t in (1, 2, 3)]
        of_period = [History(store, t).rows(first=t).users.tolist() for t in (1, 2, 3)]
        records = {one.first_period for one in list_summaries(store)}
    for number, (before, rows, is_new) in enumerate(given):
        earlier = seen[number - 1] if number else set()
        assert is_new.tolist() == [user not in earlier for user in of_period[number]]
        assert rows.num_rows == len(of_period[number])
        assert (before is None) == (number == 0)
        assert before is None or before.report["users_given"] == len(earlier)
    assert records == {1}


@pytest.mark.parametrize("policy", ["all", "whole"])
def test_a_rolling_summary_is_not_one_of_another_policy(log, spy, policy):
    with opened(log) as store:
        (alone,) = after(store, "rolling", (1,)).summaries
    with opened(log) as store:
        (other,) = after(store, policy, (1,)).summaries
        (after_it,) = after(store, "rolling", (1,)).summaries
        kinds = {one.key: is_rolling(store, one) for one in list_summaries(store)}
    assert after_it.record.key == alone.record.key
    assert kinds == {alone.record.key: True, other.record.key: False}
    np.testing.assert_array_equal(after_it.rows.weights, alone.rows.weights)


def test_a_summary_cut_short_is_not_kept(log, monkeypatch):
    def cut_short(rows, *_, **__):
        return Summary(rows.interactions[:1], {"interrupted": True})

    monkeypatch.setattr(module, "distill", cut_short)
    with opened(log) as store:
        with pytest.raises(KeyboardInterrupt):
            after(store, "all", (1,))
        assert list_summaries(store) == ()


def some_rows(seed, count, num_items, filled):
    generator = np.random.default_rng(seed)
    dense = generator.random((count, num_items)) * (generator.random((count, num_items)) < filled)
    return csr_array(dense.astype(np.float32))


@given(
    st.integers(0, 100), st.integers(0, 6), st.integers(1, 150), st.sampled_from([0.0, 0.2, 1.0])
)
def test_rows_come_back_from_the_device_as_they_went(seed, count, num_items, filled):
    rows = some_rows(seed, count, num_items, filled)
    placed = ResidentRows.place(rows)
    assert placed.num_rows == count
    assert placed.items.shape[1] % 64 == 0
    for first in range(count + 1):
        back = placed.fetch(first, num_items + 3)
        assert back.shape == (first, num_items + 3)
        assert back.has_sorted_indices
        np.testing.assert_array_equal(back.toarray()[:, :num_items], rows[:first].toarray())


def test_rows_are_on_the_default_device(log, spy):
    with opened(log) as store:
        memory = after(store, "all", (1, 2))
    placed = ResidentRows.place(some_rows(0, 4, 20, 0.5))
    assert placed.items.shape == placed.weights.shape == (4, 64)
    assert len(memory.summaries) == 2
    for rows in (placed, *(summary.rows for summary in memory.summaries)):
        assert rows.items.devices() == rows.weights.devices() == {jax.devices()[0]}


def test_rows_cannot_be_narrowed():
    placed = ResidentRows.place(some_rows(0, 4, 20, 1.0))
    with pytest.raises(ValueError, match="narrowed"):
        placed.fetch(4, 19)
