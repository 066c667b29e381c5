"""Independence of everything fitted at period t from rows after it, deleted or permuted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.memory.base import NoMemory
from perennial.models.base import FitOptions
from perennial.models.holdout import hold_out
from perennial.models.registry import make_recipe
from perennial.replay.metrics.psp import propensity_weights
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.log.matrices import count_known_items, read_item_counts, read_rows
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.stream.history import HeldOutUsers, History
from perennial.stream.next_period import ProtocolSettings, build_evaluation

T = 2
NEITHER = ("individual", "joint")


def some_rows(first, last, max_size):
    """Rows of periods first..last; few distinct times, so that ties are common."""
    row = st.tuples(
        st.integers(1, 8), st.integers(100, 120), st.integers(first, last), st.integers(0, 9)
    )
    return st.lists(row, min_size=1, max_size=max_size)


@st.composite
def two_futures(draw):
    """Two logs, equal up to T, with different rows after it; both in shuffled file order."""
    past = [(1, 100, 1, 0), (1, 100, T, 0), *draw(some_rows(1, T, 40))]  # no period is empty
    future = draw(some_rows(T + 1, T + 2, 25))
    kept = [row for row in future if draw(st.booleans())]
    items = {
        period: draw(st.permutations([row[1] for row in kept if row[2] == period]))
        for period in (T + 1, T + 2)
    }
    moved = [(user, items[period].pop(), period, at) for user, _, period, at in kept]
    return draw(st.permutations(past + future)), draw(st.permutations(past + moved))


def columns(rows):
    matrix = rows.interactions
    return matrix.indptr, matrix.indices, matrix.data, np.array(matrix.shape), rows.last_period


def known_at(store, period):
    """Everything a refit and an evaluation read of the periods up to one, by name."""
    num_items = count_known_items(store, period)
    num_users = sum(one.new_users for one in list_periods(store) if one.period <= period)
    users = np.arange(num_users, dtype=np.int32)
    counts = read_item_counts(store, period, num_items)
    known = {
        "items": [item_ids(store, np.arange(num_items, dtype=np.int32))],
        "users": [user_ids(store, users)],
        "fingerprint": [fingerprint(store, period)],
        "item counts": [counts],
        "last items": [History(store, period).last_items()],
        "propensities": [propensity_weights(counts)],
        "histories": columns(read_rows(store, 1, period, num_items=num_items, users=users)),
    }
    for name in NEITHER:
        rows = make_strategy(name).training_rows(History(store, period), NoMemory())
        known[f"{name}: rows of active users"] = columns(
            make_strategy(name).training_rows(History(store, period, min_user_events=3), NoMemory())
        )
        split = hold_out(rows, seed=3)
        known[f"{name}: rows"] = (*columns(rows), rows.weights, rows.replayed)
        known[f"{name}: what validation leaves"] = columns(split.training)
        known[f"{name}: answers of validation"] = [split.targets.toarray(), split.users]
    return known


def assert_equal_parts(one, other, name=""):
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours, err_msg=name)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert_equal_parts(one[name], other[name], name)


def answers_of(rows):
    """Scores of a model that is fitted on some rows, for the first ten of them."""
    model = make_recipe("infinite-ae").fit(rows, FitOptions(seed=4))
    return np.concatenate(list(model.score_blocks(rows.interactions[:10], 4)))


@settings(max_examples=20)
@given(futures=two_futures())
def test_the_future_changes_nothing_that_a_fit_reads(store_of, futures):
    with store_of(futures[0]) as store:
        one = known_at(store, T)
    with store_of(futures[1]) as store:
        assert_same(one, known_at(store, T))


@settings(max_examples=20)
@given(futures=two_futures(), protocol=st.sampled_from(["fold-in", "returning"]))
def test_later_periods_change_no_evaluation(store_of, futures, protocol):
    # The next period is judged, so it may be read; the one after it may not.
    asked = []
    for rows in futures:
        same_next = [row for row in futures[0] if row[2] == T + 1] or [(1, 100, T + 1, 0)]
        rows = [row for row in rows if row[2] != T + 1] + same_next
        with store_of(rows) as store:
            evaluation = build_evaluation(store, T, ProtocolSettings(protocol=protocol), seed=0)
        asked.append(evaluation)
    one, other = asked
    assert one.counts == other.counts
    assert (one.num_items, one.tie_seed) == (other.num_items, other.tie_seed)
    for name in ("users", "negatives", "item_counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("contexts", "targets"):
        mine, yours = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine.toarray(), yours.toarray(), err_msg=name)


@settings(max_examples=15)
@given(futures=two_futures())
def test_the_next_period_changes_no_history_in_a_context(store_of, futures):
    """With `returning` the contexts and propensities are the past's alone."""
    contexts = []
    for rows in futures:
        # The same users come back in both, and meet an item that nobody knows yet.
        rows = [*rows, *((user, 999, T + 1, 0) for user in range(1, 9))]
        with store_of(rows) as store:
            asked = build_evaluation(store, T, ProtocolSettings(protocol="returning"), seed=0)
            users = user_ids(store, asked.users)
            contexts.append((users, asked.contexts.toarray(), asked.item_counts[: asked.num_items]))
    assert_equal_parts(*contexts)


def test_the_check_would_notice_a_change_of_the_past(store_of):
    past = [(1, 100, 1, 0), (2, 101, 1, 1), (1, 102, 2, 0), (2, 100, 2, 1)]
    with store_of([*past, (1, 101, 3, 0)]) as store:
        one = known_at(store, T)
    with store_of([*past[:3], (2, 102, 2, 1), (1, 101, 3, 0)]) as store:
        other = known_at(store, T)
    for name in ("fingerprint", "item counts", "histories", "individual: rows", "joint: rows"):
        with pytest.raises(AssertionError):
            assert_same({name: one[name]}, {name: other[name]})


def past_of_fixed_size():
    """Thirty users in two periods, so that a fit compiles once for all examples."""
    generator = np.random.default_rng(0)
    return [
        (user, 100 + int(item), period, place)
        for period in (1, T)
        for user in range(1, 31)
        for place, item in enumerate(generator.choice(40, size=6, replace=False))
    ]


@pytest.mark.parametrize("name", NEITHER)
@settings(max_examples=5)
@given(futures=st.lists(some_rows(T + 1, T + 2, 25), min_size=2, max_size=2))
def test_the_future_changes_no_fitted_model(store_of, name, futures):
    answers = []
    for future in futures:
        with store_of([*past_of_fixed_size(), *future]) as store:
            rows = make_strategy(name).training_rows(History(store, T), NoMemory())
        answers.append(answers_of(rows))
    np.testing.assert_array_equal(*answers)


@settings(max_examples=5)
@given(futures=st.lists(some_rows(T + 1, T + 2, 25), min_size=2, max_size=2))
def test_nor_one_that_is_taught_by_the_model_before(store_of, futures):
    strategy, recipe = make_strategy("ader", {"budget": 10}), make_recipe("infinite-ae")
    answers = []
    for future in futures:
        with store_of([*past_of_fixed_size(), *future]) as store:
            memory = strategy.empty_memory()
            first = strategy.training_rows(History(store, 1), memory)
            memory = memory.update(History(store, 1), recipe.fit(first, FitOptions(seed=4)), 0)
            rows = strategy.training_rows(History(store, T), memory)
            assert rows.replayed.any()
            model = recipe.fit(rows, FitOptions(seed=4))
            memory = memory.update(History(store, T), model, 0)
        kept = memory.replay_rows(model.num_items).interactions
        scores = np.concatenate(list(model.score_blocks(rows.interactions[:10], 4)))
        answers.append((kept.toarray(), scores))
    assert_equal_parts(*answers)


@pytest.mark.parametrize("name", NEITHER)
@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_held_out_users_change_no_fitted_model(store_of, name, seed):
    held_out = HeldOutUsers(0.3, seed=1)
    # The first user meets every item at once, so that users and items keep their indices.
    past = [*((0, 100 + item, 1, 0) for item in range(40)), *past_of_fixed_size()]
    with store_of(past) as store:
        users = np.arange(31, dtype=np.int32)
        hidden = {int(user) for user in user_ids(store, users[held_out.mask(users)])} - {0}
    assert 5 < len(hidden) < 15
    # What a held-out user does first and last stays; of the rest some is deleted, some permuted.
    generator = np.random.default_rng(seed)
    theirs = [row for row in past if row[0] in hidden and 0 < row[3] < 5]
    kept = [row for row in theirs if generator.random() < 0.5]
    items = generator.permutation([row[1] for row in kept]).tolist()
    changed = [
        (user, item, period, at) for (user, _, period, at), item in zip(kept, items, strict=True)
    ]
    answers = []
    for log in (past, [row for row in past if row not in theirs] + changed):
        with store_of(log) as store:
            rows = make_strategy(name).training_rows(History(store, T, held_out), NoMemory())
        answers.append(answers_of(rows))
    np.testing.assert_array_equal(*answers)
